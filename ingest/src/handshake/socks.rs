//! SOCKS 5 (RFC 1928, with the passwords of RFC 1929): a proxy is asked to connect to a host by its name, which it looks up itself.
//!
//! ```text
//! greeting  05 | number | methods (00 none, 02 password)      -> 05 | method
//! password  01 | length | user | length | password            -> 01 | 00 if right
//! connect   05 01 00 | 03 | length | host | port (big-endian) -> 05 | 00 if done | 00 | kind | address | port
//! ```

const VERSION: u8 = 5;
const NO_LOGIN: u8 = 0;
const BY_PASSWORD: u8 = 2;

/// What the proxy says of a connection that it cannot make, by the number in its answer.
const FAILURES: [&str; 9] = [
    "succeeded",
    "general SOCKS server failure",
    "connection not allowed by ruleset",
    "network unreachable",
    "host unreachable",
    "connection refused",
    "TTL expired",
    "command not supported",
    "address type not supported",
];

/// What is to be sent, and how many bytes of an answer are to be read then; none once the proxy has connected.
#[derive(Debug, PartialEq, Eq)]
pub struct Step {
    /// Bytes to send.
    pub send: Vec<u8>,
    /// Bytes of the answer.
    pub answer_bytes: usize,
}

/// One conversation with a proxy.
pub struct Socks {
    /// The frame with who we are.
    password: Option<Vec<u8>>,
    /// The frame that asks to connect.
    connect: Vec<u8>,
    stage: Stage,
}

/// What the next answer is to.
enum Stage {
    Greeting,
    Password,
    Connect,
    /// The length of the name that the proxy connects from.
    NameLength,
    /// Where the proxy connects from.
    Bound,
}

impl Socks {
    /// With a proxy that is to connect to `host` and `port`, with a user and a password if it wants them.
    ///
    /// # Errors
    /// If a text is too long.
    pub fn new(login: Option<(&str, &str)>, host: &str, port: u16) -> Result<Self, String> {
        let password = login.map(|(user, password)| {
            Ok::<_, String>(
                [vec![1], text(user, "user name")?, text(password, "password")?].concat(),
            )
        });
        let host = text(host.trim_matches(['[', ']']), "host")?;
        let connect = [&[VERSION, 1, 0, 3], host.as_slice(), &port.to_be_bytes()].concat();
        Ok(Socks { password: password.transpose()?, connect, stage: Stage::Greeting })
    }

    /// The first step.
    pub fn begin(&self) -> Step {
        let methods: &[u8] =
            if self.password.is_some() { &[2, NO_LOGIN, BY_PASSWORD] } else { &[1, NO_LOGIN] };
        Step { send: [&[VERSION], methods].concat(), answer_bytes: 2 }
    }

    /// The step after an answer, which has the bytes that the one before asked for.
    ///
    /// # Errors
    /// What the proxy says if it refuses, or that it does not speak the protocol.
    pub fn answered(&mut self, answer: &[u8]) -> Result<Step, String> {
        let step = |send: &[u8], answer_bytes| Ok(Step { send: send.to_vec(), answer_bytes });
        match (&self.stage, answer) {
            (Stage::Greeting, [VERSION, NO_LOGIN]) | (Stage::Password, [_, 0]) => {
                self.stage = Stage::Connect;
                step(&self.connect, 4)
            }
            (Stage::Greeting, [VERSION, method]) => match &self.password {
                Some(password) if *method == BY_PASSWORD => {
                    self.stage = Stage::Password;
                    step(password, 2)
                }
                _ => Err("no acceptable authentication methods".to_owned()),
            },
            (Stage::Password, [_, _]) => Err("username/password authentication failed".to_owned()),
            (Stage::Connect, [VERSION, 0, _, kind @ (1 | 4)]) => {
                self.stage = Stage::Bound;
                step(&[], if *kind == 1 { 4 + 2 } else { 16 + 2 })
            }
            (Stage::Connect, [VERSION, 0, _, 3]) => {
                self.stage = Stage::NameLength;
                step(&[], 1)
            }
            (Stage::Connect, [VERSION, reply, _, _]) if *reply != 0 => {
                let known = FAILURES.get(usize::from(*reply));
                Err((*known.unwrap_or(&"unknown SOCKS failure")).to_owned())
            }
            (Stage::NameLength, [length]) => {
                self.stage = Stage::Bound;
                step(&[], usize::from(*length) + 2)
            }
            (Stage::Bound, _) => step(&[], 0),
            _ => Err("the proxy does not speak SOCKS 5".to_owned()),
        }
    }
}

/// A text behind its length.
fn text(text: &str, what: &str) -> Result<Vec<u8>, String> {
    let length = u8::try_from(text.len()).map_err(|_| format!("the {what} is too long"))?;
    Ok([&[length], text.as_bytes()].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is sent, and how it ends, if a proxy answers so.
    fn talk(login: Option<(&str, &str)>, mut answers: &[u8]) -> (Vec<u8>, Result<(), String>) {
        let mut socks = Socks::new(login, "[::1]", 443).unwrap();
        let (mut step, mut sent) = (socks.begin(), Vec::new());
        loop {
            sent.extend(step.send);
            if step.answer_bytes == 0 {
                assert!(answers.is_empty(), "{answers:?} were not read");
                return (sent, Ok(()));
            }
            let (answer, rest) = answers.split_at(step.answer_bytes);
            answers = rest;
            step = match socks.answered(answer) {
                Ok(step) => step,
                Err(error) => return (sent, Err(error)),
            };
        }
    }

    #[test]
    fn a_connection_with_and_without_a_login() {
        let connect = b"\x05\x01\x00\x03\x03::1\x01\xbb";
        let bound_to = [
            &b"\x05\x00\x00\x01\x7f\x00\x00\x01\x00\x50"[..],
            b"\x05\x00\x00\x03\x01h\x00\x50",
            b"\x05\x00\x00\x040123456789abcdef\x00\x50",
        ];
        for bound in bound_to {
            let (sent, end) = talk(None, &[b"\x05\x00", bound].concat());
            assert_eq!((sent, end), ([&b"\x05\x01\x00"[..], connect].concat(), Ok(())));
            let (sent, end) = talk(Some(("u", "pw")), &[b"\x05\x02\x01\x00", bound].concat());
            let expected = [&b"\x05\x02\x00\x02\x01\x01u\x02pw"[..], connect].concat();
            assert_eq!((sent, end), (expected, Ok(())));
        }
    }

    #[test]
    fn refusals_are_told() {
        let login = Some(("u", "pw"));
        for (login, answers, expected) in [
            (None, &b"\x04\x00"[..], "does not speak SOCKS 5"),
            (None, b"\x05\x02", "no acceptable authentication methods"),
            (login, b"\x05\xff", "no acceptable authentication methods"),
            (login, b"\x05\x02\x01\x01", "authentication failed"),
            (None, b"\x05\x00\x05\x05\x00\x01", "connection refused"),
            (None, b"\x05\x00\x05\xee\x00\x01", "unknown SOCKS failure"),
            (None, b"\x05\x00\x05\x00\x00\x02", "does not speak SOCKS 5"),
            (None, b"\x05\x00\x04\x00\x00\x01", "does not speak SOCKS 5"),
        ] {
            let error = talk(login, answers).1.unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
        let long = "x".repeat(256);
        assert_eq!(Socks::new(None, &long, 1).err().unwrap(), "the host is too long");
        assert!(!Socks::new(Some(("u", &long)), "h", 1).err().unwrap().contains('x'));
    }
}
