//! Response codes by their names.

use super::Error;
use super::lexer::Line;

const NAMES: [(&str, u16); 11] = [
    ("NOERROR", 0),
    ("FORMERR", 1),
    ("SERVFAIL", 2),
    ("NXDOMAIN", 3),
    ("NOTIMP", 4),
    ("REFUSED", 5),
    ("YXDOMAIN", 6),
    ("YXRRSET", 7),
    ("NXRRSET", 8),
    ("NOTAUTH", 9),
    ("NOTZONE", 10),
];

/// The codes that an option names, at least one.
pub(super) fn parse_all(line: &Line) -> Result<Vec<u16>, Error> {
    if line.arguments().is_empty() {
        return Err(line.error("it takes at least one response code"));
    }
    let code = |word: &String| {
        let known = NAMES.iter().find(|(name, _)| name.eq_ignore_ascii_case(word));
        let problem = || line.error(format!("{word:?} is not a response code such as SERVFAIL or NXDOMAIN"));
        known.map(|(_, code)| *code).ok_or_else(problem)
    };
    line.arguments().iter().map(code).collect()
}
