//! PAM, by the system's library. It is loaded when PAM is asked for the first time: a system
//! without PAM need not have it.
//!
//! A conversation may take as long as the modules like: call it from a thread that may wait.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::ptr;

use crate::base::text::printable;
use crate::base::wipe::wipe;

/// The library's name, with the number of its interface.
const LIBRARY: &CStr = c"libpam.so.0";

const SUCCESS: c_int = 0;
const BUFFER_ERROR: c_int = 5;
const CONVERSATION_ERROR: c_int = 19;
/// The kinds of a module's messages: a question whose answer is hidden, or one whose answer is
/// shown. Other kinds are texts for the user.
const ECHO_OFF: c_int = 1;
const ECHO_ON: c_int = 2;
/// The item of a session that tells the host of the user.
const REMOTE_HOST: c_int = 4;

/// The most messages that a module may send at once (PAM_MAX_NUM_MSG of the library).
const MESSAGES_MAX: usize = 32;

#[repr(C)]
struct PamMessage {
    style: c_int,
    text: *const c_char,
}

#[repr(C)]
struct Response {
    text: *mut c_char,
    /// Unused, and zero.
    code: c_int,
}

type Converse = extern "C" fn(
    count: c_int,
    messages: *mut *const PamMessage,
    responses: *mut *mut Response,
    data: *mut c_void,
) -> c_int;

#[repr(C)]
struct Conversation {
    converse: Converse,
    data: *mut c_void,
}

/// A session of the library; it alone knows what is in it.
enum PamSession {}

type Start = unsafe extern "C" fn(
    service: *const c_char,
    user: *const c_char,
    conversation: *const Conversation,
    session: *mut *mut PamSession,
) -> c_int;
type PamStep = unsafe extern "C" fn(session: *mut PamSession, flags: c_int) -> c_int;
type SetItem = unsafe extern "C" fn(*mut PamSession, kind: c_int, item: *const c_void) -> c_int;
type PamStrerror = unsafe extern "C" fn(session: *mut PamSession, code: c_int) -> *const c_char;

/// The functions that are needed of the library. It stays loaded.
struct Library {
    start: Start,
    authenticate: PamStep,
    account: PamStep,
    end: PamStep,
    set_item: SetItem,
    words: PamStrerror,
}

/// Whether there is a library; if not, why.
pub fn find() -> Result<(), String> {
    Library::load().map(drop)
}

/// Whether PAM takes this password of this user of a service, and lets the user in; if not, why.
pub fn authenticate(service: &str, user: &str, password: &[u8], host: &str) -> Result<(), String> {
    let library = Library::load()?;
    let text = |bytes: &[u8]| CString::new(bytes).map_err(|_| "a NUL byte".to_owned());
    let (service, user, host) =
        (text(service.as_bytes())?, text(user.as_bytes())?, text(host.as_bytes())?);
    let mut talk = Talk { password: text(password)?, told: String::new() };
    let talk = ptr::from_mut(&mut talk);
    let conversation = Conversation { converse, data: talk.cast() };
    let mut session = ptr::null_mut();
    // SAFETY: all texts end with NUL and outlive the call; the session is written to a local, and
    // keeps a pointer to the talk only as long as `Open` lives.
    let code = unsafe {
        (library.start)(service.as_ptr(), user.as_ptr(), &raw const conversation, &mut session)
    };
    if code != SUCCESS || session.is_null() {
        return Err(format!("pam_start() failed: error {code}"));
    }
    let mut open = Open { library: &library, session, last: code, talk };
    // SAFETY: the session is open, and the library makes a copy of the text.
    let code = unsafe { (library.set_item)(open.session, REMOTE_HOST, host.as_ptr().cast()) };
    open.check("pam_set_item", code)?;
    // SAFETY: the session is open; the conversation and its talk outlive the call.
    let code = unsafe { (library.authenticate)(open.session, 0) };
    open.check("pam_authenticate", code)?;
    // SAFETY: as above.
    let code = unsafe { (library.account)(open.session, 0) };
    open.check("pam_acct_mgmt", code)
}

/// The password for the modules, and the texts that they send. The password is overwritten on drop.
struct Talk {
    password: CString,
    told: String,
}

/// How much of the modules' texts a log line may quote, in bytes.
const TOLD_BYTES_MAX: usize = 200;

impl Talk {
    fn hear(&mut self, text: &CStr) {
        let text = text.to_string_lossy();
        if self.told.len() + text.len() <= TOLD_BYTES_MAX {
            self.told.extend(text.trim().chars().map(printable));
            self.told.push_str("; ");
        }
    }
}

impl Drop for Talk {
    fn drop(&mut self) {
        let mut bytes = std::mem::take(&mut self.password).into_bytes();
        wipe(&mut bytes);
    }
}

/// A session that is closed on drop.
struct Open<'a> {
    library: &'a Library,
    session: *mut PamSession,
    last: c_int,
    talk: *mut Talk,
}

impl Open<'_> {
    fn check(&mut self, call: &str, code: c_int) -> Result<(), String> {
        self.last = code;
        if code == SUCCESS {
            return Ok(());
        }
        // SAFETY: the session is open; the library gives a text that ends with NUL, or null.
        let words = unsafe {
            let words = (self.library.words)(self.session, code);
            if words.is_null() { None } else { Some(CStr::from_ptr(words).to_string_lossy()) }
        };
        // SAFETY: the talk outlives the session, and no call is under way that could change it.
        let told = unsafe { &(*self.talk).told }.trim_end_matches("; ").to_owned();
        let words = words.as_deref().unwrap_or("unknown error");
        let told = if told.is_empty() { told } else { format!(" ({told})") };
        Err(format!("{call}() failed: {words}{told}"))
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        // SAFETY: the session is open, and nobody has it after this.
        unsafe { (self.library.end)(self.session, self.last) };
    }
}

/// Answers the questions of modules: with the password, if the answer is hidden.
extern "C" fn converse(
    count: c_int,
    messages: *mut *const PamMessage,
    responses: *mut *mut Response,
    data: *mut c_void,
) -> c_int {
    let Ok(count) = usize::try_from(count) else { return CONVERSATION_ERROR };
    if count == 0 || count > MESSAGES_MAX || messages.is_null() || responses.is_null() {
        return CONVERSATION_ERROR;
    }
    // SAFETY: `data` is what `authenticate` gave the library, which calls this while it waits.
    let talk = unsafe { &mut *data.cast::<Talk>() };
    // SAFETY: memory of zeros, which the library frees.
    let answers = unsafe { libc::calloc(count, size_of::<Response>()) }.cast::<Response>();
    if answers.is_null() {
        return BUFFER_ERROR;
    }
    let mut result = SUCCESS;
    for at in 0..count {
        // SAFETY: the library gives `count` pointers to messages.
        let PamMessage { style, text } = unsafe { &**messages.add(at) };
        match *style {
            // SAFETY: the text ends with NUL, and there is room for `count` answers. The copy is
            // the library's, which frees it.
            ECHO_OFF => unsafe { (*answers.add(at)).text = libc::strdup(talk.password.as_ptr()) },
            ECHO_ON => result = CONVERSATION_ERROR,
            // A text for the user goes to the log, since the client hears of refusals only. SAFETY:
            // a text that ends with NUL, or null.
            _ if !text.is_null() => talk.hear(unsafe { CStr::from_ptr(*text) }),
            _ => {}
        }
    }
    if result == SUCCESS {
        // SAFETY: the library gives the place for the answers.
        unsafe { *responses = answers };
    } else {
        for at in 0..count {
            // SAFETY: texts of strdup, or null.
            unsafe { libc::free((*answers.add(at)).text.cast()) };
        }
        // SAFETY: memory of calloc that nobody has got.
        unsafe { libc::free(answers.cast()) };
    }
    result
}

impl Library {
    fn load() -> Result<Library, String> {
        // SAFETY: the name ends with NUL. What the library does when it is loaded is its own.
        let handle = unsafe { libc::dlopen(LIBRARY.as_ptr(), libc::RTLD_NOW | libc::RTLD_GLOBAL) };
        if handle.is_null() {
            return Err(format!("cannot load {}: {}", LIBRARY.to_string_lossy(), trouble()));
        }
        // SAFETY: the types are those of the library's headers (security/pam_appl.h), which its
        // number stands for; the handle is never closed, so that the functions stay.
        unsafe {
            Ok(Library {
                start: std::mem::transmute::<*mut c_void, Start>(find_in(handle, c"pam_start")?),
                authenticate: std::mem::transmute::<*mut c_void, PamStep>(find_in(
                    handle,
                    c"pam_authenticate",
                )?),
                account: std::mem::transmute::<*mut c_void, PamStep>(find_in(
                    handle,
                    c"pam_acct_mgmt",
                )?),
                end: std::mem::transmute::<*mut c_void, PamStep>(find_in(handle, c"pam_end")?),
                set_item: std::mem::transmute::<*mut c_void, SetItem>(find_in(
                    handle,
                    c"pam_set_item",
                )?),
                words: std::mem::transmute::<*mut c_void, PamStrerror>(find_in(
                    handle,
                    c"pam_strerror",
                )?),
            })
        }
    }
}

fn find_in(handle: *mut c_void, name: &CStr) -> Result<*mut c_void, String> {
    // SAFETY: the handle is open and the name ends with NUL.
    let found = unsafe { libc::dlsym(handle, name.as_ptr()) };
    let missing = || format!("{} has no {}", LIBRARY.to_string_lossy(), name.to_string_lossy());
    if found.is_null() { Err(missing()) } else { Ok(found) }
}

/// The loader's words for what went wrong last.
fn trouble() -> String {
    // SAFETY: the loader gives a text of this thread that ends with NUL, or null.
    let words = unsafe { libc::dlerror() };
    if words.is_null() {
        return "unknown error".to_owned();
    }
    // SAFETY: as above.
    unsafe { CStr::from_ptr(words) }.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Asks as a module would; the answers as texts.
    fn asked(styles: &[c_int]) -> Result<Vec<Option<String>>, c_int> {
        let mut talk = Talk { password: CString::new("secret").unwrap(), told: String::new() };
        let texts: Vec<PamMessage> =
            styles.iter().map(|&style| PamMessage { style, text: c"?".as_ptr() }).collect();
        let mut messages: Vec<*const PamMessage> = texts.iter().map(ptr::from_ref).collect();
        let mut answers = ptr::null_mut();
        let data = ptr::from_mut(&mut talk).cast();
        let code = converse(styles.len() as c_int, messages.as_mut_ptr(), &mut answers, data);
        if code != SUCCESS {
            return Err(code);
        }
        // SAFETY: as many answers as questions, of strdup or null, in memory of calloc.
        unsafe {
            let told = (0..styles.len()).map(|at| {
                let text = (*answers.add(at)).text;
                let told =
                    (!text.is_null()).then(|| CStr::from_ptr(text).to_string_lossy().into_owned());
                libc::free(text.cast());
                told
            });
            let told = told.collect();
            libc::free(answers.cast());
            Ok(told)
        }
    }

    #[test]
    fn the_password_is_given_where_it_is_asked_for_unseen() {
        let secret = || Some("secret".to_owned());
        assert_eq!(asked(&[ECHO_OFF]), Ok(vec![secret()]));
        assert_eq!(asked(&[4, ECHO_OFF, 3, ECHO_OFF]), Ok(vec![None, secret(), None, secret()]));
        assert_eq!(asked(&[ECHO_OFF, ECHO_ON]), Err(CONVERSATION_ERROR));
        assert_eq!(asked(&[]), Err(CONVERSATION_ERROR));
        assert_eq!(asked(&[ECHO_OFF; 33]), Err(CONVERSATION_ERROR));
    }
}
