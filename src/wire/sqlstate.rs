//! The SQLSTATEs that the pooler sends or looks for (PostgreSQL manual, appendix "Error Codes").

/// The class of SQLSTATEs for refused logins: their first two characters.
pub const INVALID_AUTHORIZATION_CLASS: &str = "28";
pub const ADMIN_SHUTDOWN: &str = "57P01";
pub const CHARACTER_NOT_IN_REPERTOIRE: &str = "22021";
pub const PROTOCOL_VIOLATION: &str = "08P01";
pub const CANNOT_CONNECT_NOW: &str = "57P03";
pub const CONFIG_FILE_ERROR: &str = "F0000";
pub const FEATURE_NOT_SUPPORTED: &str = "0A000";
pub const INVALID_PARAMETER_VALUE: &str = "22023";
pub const QUERY_CANCELED: &str = "57014";
pub const SUCCESSFUL: &str = "00000";
pub const SYNTAX_ERROR: &str = "42601";
pub const DUPLICATE_PREPARED_STATEMENT: &str = "42P05";
pub const OUT_OF_MEMORY: &str = "53200";
pub const TOO_MANY_CONNECTIONS: &str = "53300";
pub const UNTRANSLATABLE_CHARACTER: &str = "22P05";
pub const UNDEFINED_FUNCTION: &str = "42883";
pub const UNDEFINED_TABLE: &str = "42P01";
pub const UNDEFINED_PREPARED_STATEMENT: &str = "26000";
pub const PROGRAM_LIMIT_EXCEEDED: &str = "54000";
pub const DUPLICATE_CURSOR: &str = "42P03";
pub const INVALID_AUTHORIZATION: &str = "28000";
pub const INVALID_PASSWORD: &str = "28P01";
pub const INVALID_CURSOR_NAME: &str = "34000";
