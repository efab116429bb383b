//! The extended protocol of a simulated session: statements, portals, and skipping after an error.

use super::session::{
    ABORTED, Block, Failure, OUTLIVED, Out, Portal, Prepared, REFUSED, ROW_DESCRIPTION, Session,
    failure, text_of,
};
use super::sql::{self, Statement};
use crate::wire::fields::Fields;
use crate::wire::kind::{Back, Front};

impl Session {
    pub(super) fn extended(&mut self, kind: Front, body: &[u8]) -> Result<(), Failure> {
        if self.pooler_judges(kind, body) {
            return Ok(());
        }
        match kind {
            Front::Parse => self.parse(body),
            Front::Bind => self.bind(body),
            Front::Describe => self.describe(body),
            Front::Execute => self.execute(body),
            _ => {
                self.close(body);
                Ok(())
            }
        }
    }

    /// A pooler that tracks statements may answer a repeated Parse itself. Returns whether it has.
    fn pooler_judges(&mut self, kind: Front, body: &[u8]) -> bool {
        if kind != Front::Parse || !self.rules.pooled.is_some_and(|pooled| pooled.tracks) {
            return false;
        }
        let mut fields = Fields::new(body);
        let Some(name) = fields.str().filter(|name| !name.is_empty()) else { return false };
        let is_known = self.statements.get(name).is_some_and(|known| known.key == fields.rest());
        if is_known {
            self.push(Back::ParseComplete, b"");
        }
        is_known
    }

    /// The pooler has decided on a Parse in a failed transaction: it has answered, or left the
    /// refusal to the server.
    pub(super) fn parse_decided(&mut self, body: &[u8], is_accepted: bool) {
        let mut fields = Fields::new(body);
        let name = fields.str().unwrap_or_default().to_owned();
        let key = fields.rest().to_vec();
        if is_accepted {
            let changes = self.changes;
            self.statements.insert(name, Prepared { text: text_of(&key), key, changes });
        } else {
            self.is_skipping = true;
        }
    }

    fn start(&mut self) {
        if self.block == Block::None {
            self.parameters.begin();
            self.is_started = true;
        }
    }

    /// In a failed transaction only a statement that ends it can be prepared, bound and run.
    fn check_text(&mut self, text: &str) -> Result<Option<Statement>, Failure> {
        let list = sql::parse(text).filter(|list| list.len() < 2);
        let list = list.ok_or_else(|| failure("42601", format!("syntax error in {text}")))?;
        let statement = list.into_iter().next();
        self.holds_table |= sql::reads_table(text) && self.block != Block::Failed;
        match &statement {
            Some(statement) => self.check_block(statement)?,
            None if self.block == Block::Failed => return Err(failure("25P02", ABORTED)),
            None => {}
        }
        Ok(statement)
    }

    fn parse(&mut self, body: &[u8]) -> Result<(), Failure> {
        let mut fields = Fields::new(body);
        let name = fields.str().unwrap_or_default().to_owned();
        let key = fields.rest().to_vec();
        let text = text_of(&key);
        self.start();
        if name.is_empty() {
            self.statements.remove("");
        }
        if sql::parse(&text).is_some_and(|list| self.pooler_refuses(&list)) {
            return Err(failure("0A000", REFUSED));
        }
        self.check_text(&text)?;
        if self.has_statement(&name) {
            let text = format!("prepared statement \"{name}\" already exists");
            return Err(failure("42P05", text));
        }
        let changes = self.changes;
        self.statements.insert(name, Prepared { text, key, changes });
        self.push(Back::ParseComplete, b"");
        Ok(())
    }

    fn bind(&mut self, body: &[u8]) -> Result<(), Failure> {
        let mut fields = Fields::new(body);
        let portal = fields.str().unwrap_or_default().to_owned();
        let name = fields.str().unwrap_or_default().to_owned();
        let values = values(&mut fields).unwrap_or_default();
        self.start();
        let text = self.text_of_statement(&name)?;
        if sql::parameters(&text) != values.len() {
            return Err(failure("08P01", "bind message supplies a wrong number of parameters"));
        }
        self.check_text(&text)?;
        if !portal.is_empty() && self.portals.contains_key(&portal) {
            return Err(failure("42P03", format!("cursor \"{portal}\" already exists")));
        }
        self.check_table(&name)?;
        self.portals.insert(portal, Portal { text, values, given: Some(0) });
        self.push(Back::BindComplete, b"");
        Ok(())
    }

    /// A statement depends on the columns that the table had when it was prepared.
    fn check_table(&mut self, name: &str) -> Result<(), Failure> {
        let fits =
            |known: &Prepared| !sql::reads_table(&known.text) || known.changes == self.changes;
        if self.statements.get(name).is_none_or(fits) {
            return Ok(());
        }
        self.refused += 1;
        Err(failure("0A000", OUTLIVED))
    }

    pub(super) fn text_of_statement(&self, name: &str) -> Result<String, Failure> {
        let missing = || failure("26000", format!("prepared statement \"{name}\" does not exist"));
        self.statements.get(name).map(|known| known.text.clone()).ok_or_else(missing)
    }

    fn describe(&mut self, body: &[u8]) -> Result<(), Failure> {
        let name = text_of(&body[1..]);
        self.start();
        let text = if body[0] == b'S' {
            let text = self.text_of_statement(&name)?;
            self.check_text(&text)?;
            let count = sql::parameters(&text) as u16;
            let mut body = count.to_be_bytes().to_vec();
            (0..count).for_each(|_| body.extend(25u32.to_be_bytes()));
            self.push(Back::ParameterDescription, &body);
            self.check_table(&name)?;
            text
        } else {
            let missing = || failure("34000", format!("portal \"{name}\" does not exist"));
            let text = self.portals.get(&name).ok_or_else(missing)?.text.clone();
            self.check_text(&text)?;
            text
        };
        let statement = sql::parse(&text).and_then(|list| list.into_iter().next());
        match statement {
            Some(Statement::Lookup(lookup)) => self.describe_lookup(&lookup),
            Some(Statement::Rows { .. } | Statement::Show { .. }) => {
                self.push(Back::RowDescription, ROW_DESCRIPTION);
            }
            _ => self.push(Back::NoData, b""),
        }
        Ok(())
    }

    fn execute(&mut self, body: &[u8]) -> Result<(), Failure> {
        let mut fields = Fields::new(body);
        let name = fields.str().unwrap_or_default().to_owned();
        let most = fields.u32().unwrap_or_default() as usize;
        self.start();
        let missing = || failure("34000", format!("portal \"{name}\" does not exist"));
        let portal = self.portals.get(&name).cloned().ok_or_else(missing)?;
        let Some(statement) = self.check_text(&portal.text)? else {
            self.push(Back::EmptyQuery, b"");
            return Ok(());
        };
        if let Statement::Lookup(lookup) = &statement {
            return self.look_up(lookup, &portal.values);
        }
        let Some(given) = portal.given else {
            return Err(failure("55000", format!("portal \"{name}\" cannot be run")));
        };
        let Some(rows) = self.rows(&statement, &portal.values) else {
            self.portals.entry(name).and_modify(|portal| portal.given = None);
            return self.execute_command(&statement);
        };
        self.sleep(&statement);
        let left = &rows[given.min(rows.len())..];
        let count = if most == 0 { left.len() } else { left.len().min(most) };
        for row in &left[..count] {
            self.push_row(row);
        }
        self.portals.entry(name).and_modify(|portal| portal.given = Some(given + count));
        if most > 0 && count == most {
            self.push(Back::PortalSuspended, b"");
        } else {
            self.complete(&format!("SELECT {count}"));
        }
        Ok(())
    }

    fn execute_command(&mut self, statement: &Statement) -> Result<(), Failure> {
        if let Statement::CopyIn { text } = statement {
            self.begin_copy(text, false);
            return Ok(());
        }
        if let Statement::CopyOut { .. } = statement {
            self.push_out(Out::Sleep(0));
        }
        let tag = self.perform(statement)?;
        self.complete(&tag);
        Ok(())
    }

    fn close(&mut self, body: &[u8]) {
        let name = text_of(&body[1..]);
        if body[0] == b'S' {
            self.statements.remove(&name);
        } else {
            self.portals.remove(&name);
        }
        self.push(Back::CloseComplete, b"");
    }
}

/// The parameter values of a Bind, all as text.
fn values(fields: &mut Fields<'_>) -> Option<Vec<Vec<u8>>> {
    for _ in 0..fields.u16()? {
        fields.u16()?;
    }
    let mut values = Vec::new();
    for _ in 0..fields.u16()? {
        let length = fields.u32()? as usize;
        let rest = fields.rest();
        values.push(rest.get(..length)?.to_vec());
        *fields = Fields::new(&rest[length..]);
    }
    Some(values)
}
