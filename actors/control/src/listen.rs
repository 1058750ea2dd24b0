//! The address of the control channel, its token, and `control.json`, the file that gives both to the user's own tools.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

use ractor::SpawnErr;
use rand::TryRngCore;
use rand::rand_core::OsError;
use rand::rngs::OsRng;
use scenarios::ControlConfig;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::json;
use subtle::ConstantTimeEq;

use records::{RecordsError, RunDir, replace_file};

/// Why the control channel can't be started. One line each.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// The address can't be bound.
    #[error("control.listen = \"{listen}\": {problem}")]
    Listen {
        /// The value of `control.listen`.
        listen: String,
        /// What is wrong, and what to write instead.
        problem: String,
    },
    /// The operating system gave no random numbers for the token.
    #[error("cannot make the token of the control channel: {0}; --no-control runs without the channel")]
    Token(OsError),
    /// The variable that `control.token_env` names holds no token.
    #[error(
        "control.token_env: the environment variable {variable} {problem}; \
         set it to at least 32 characters without spaces, such as the output of `openssl rand -hex 32`"
    )]
    TokenVariable {
        /// The name in `control.token_env`.
        variable: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// `control.json` can't be written.
    #[error(transparent)]
    File(#[from] RecordsError),
    /// The runtime can't take the listener over.
    #[error(
        "cannot listen for connections to the control channel: {0}; --no-control runs without the channel"
    )]
    Runtime(io::Error),
    /// The actor that supervises the server did not start.
    #[error("cannot start the control channel: {0}; --no-control runs without the channel")]
    Start(SpawnErr),
}

/// The fewest characters of a token that the user chose.
const SHORTEST_TOKEN: usize = 32;

/// The secret that every request under `/api` must carry: 256 random bits in hexadecimal, or what the user chose.
#[derive(Clone, Debug)]
pub struct Token(SecretString);

impl Token {
    fn random() -> Result<Self, ControlError> {
        let mut bytes = [0u8; 32];
        OsRng.try_fill_bytes(&mut bytes).map_err(ControlError::Token)?;
        let text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Token(text.into()))
    }

    /// The token that an environment variable holds.
    fn of_variable(variable: &str) -> Result<Self, ControlError> {
        let wrong = |problem| ControlError::TokenVariable { variable: variable.to_owned(), problem };
        let value = std::env::var(variable).map_err(|_| wrong("is not set"))?;
        Token::chosen(value.trim()).map_err(wrong)
    }

    fn chosen(value: &str) -> Result<Self, &'static str> {
        if value.len() < SHORTEST_TOKEN {
            return Err("holds fewer than 32 characters");
        }
        if !value.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err("holds characters that no token has");
        }
        Ok(Token(value.into()))
    }

    /// Whether `given` is this token; takes the same time wherever the two differ.
    pub fn is(&self, given: &str) -> bool {
        self.reveal().as_bytes().ct_eq(given.as_bytes()).into()
    }

    /// The token in plain text, for `control.json` and the address of the page.
    pub fn reveal(&self) -> &str {
        self.0.expose_secret()
    }
}

/// A bound address on which nothing is served yet.
#[derive(Debug)]
pub struct Bound {
    pub(super) listener: TcpListener,
    pub(super) address: SocketAddr,
    pub(super) token: Token,
    pub(super) hosts: Vec<String>,
}

impl Bound {
    /// Binds `control.listen`; `None` with `listen = "off"`.
    ///
    /// Errors: [`ControlError::Listen`], for example if the port is in use, or [`ControlError::Token`].
    pub fn bind(config: &ControlConfig) -> Result<Option<Self>, ControlError> {
        let Some(wanted) = config.address() else { return Ok(None) };
        let refused = |error: &io::Error| ControlError::Listen {
            listen: config.listen.clone(),
            problem: problem(wanted, error),
        };
        let listener = TcpListener::bind(wanted).map_err(|error| refused(&error))?;
        listener.set_nonblocking(true).map_err(|error| refused(&error))?;
        let address = listener.local_addr().map_err(|error| refused(&error))?;
        let token = config.token_env.as_deref().map_or_else(Token::random, Token::of_variable)?;
        Ok(Some(Bound { listener, address, token, hosts: config.hosts.clone() }))
    }

    /// The address for clients on this machine, such as `http://127.0.0.1:40123`.
    pub fn url(&self) -> String {
        let ip = match self.address.ip() {
            ip if !ip.is_unspecified() => ip,
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        };
        format!("http://{}", SocketAddr::new(ip, self.address.port()))
    }

    /// The address to open in a browser. It ends in `#TOKEN`; browsers send the part after `#` to no server, so that
    /// the token gets into no log.
    pub fn page(&self) -> String {
        format!("{}/#{}", self.url(), self.token.reveal())
    }

    /// The token of this run.
    pub fn token(&self) -> &Token {
        &self.token
    }

    /// Whether it is reachable from other machines.
    pub fn is_remote(&self) -> bool {
        !self.address.ip().is_loopback()
    }
}

fn problem(wanted: SocketAddr, error: &io::Error) -> String {
    let port = wanted.port();
    let instead = "port 0 takes any free port, --no-control runs without the control channel";
    match error.kind() {
        io::ErrorKind::AddrInUse => format!("port {port} is in use; choose another one: {instead}"),
        io::ErrorKind::PermissionDenied => {
            format!("port {port} needs more rights; choose one above 1023: {instead}")
        }
        io::ErrorKind::AddrNotAvailable => {
            format!("this machine has no address {}; write 127.0.0.1 instead", wanted.ip())
        }
        _ => format!("cannot be bound: {error}; {instead}"),
    }
}

/// `control.json` in the run directory, by which the user's own tools reach the run. Only its owner can read it, and it
/// exists while the run does.
#[derive(Clone, Debug, Deserialize)]
pub struct ControlFile {
    /// The address for clients on this machine, such as `http://127.0.0.1:40123`.
    pub address: String,
    /// The token, for the header `Authorization: Bearer TOKEN`.
    pub token: SecretString,
    /// The process id of the run.
    pub pid: u32,
}

impl ControlFile {
    /// Writes the file for `bound`; dropping the guard removes it.
    pub(super) fn write(run_dir: &RunDir, bound: &Bound) -> Result<ControlFileGuard, ControlError> {
        let path = run_dir.control();
        let pid = std::process::id();
        let file = json!({ "address": bound.url(), "token": bound.token.reveal(), "pid": pid });
        // `replace_file` creates files that only their owner can read.
        replace_file(&path, format!("{file:#}\n").as_bytes())?;
        Ok(ControlFileGuard(path))
    }

    /// Reads the file of a run directory; `None` if it does not exist or can't be read.
    pub fn read(run_dir: &RunDir) -> Option<Self> {
        serde_json::from_slice(&std::fs::read(run_dir.control()).ok()?).ok()
    }

    /// Whether the process that wrote it still exists; always true where there is no `/proc`.
    pub fn is_live(&self) -> bool {
        let processes = Path::new("/proc/self");
        !processes.exists() || processes.with_file_name(self.pid.to_string()).exists()
    }
}

/// Removes `control.json` when dropped.
#[derive(Debug)]
pub(super) struct ControlFileGuard(PathBuf);

impl Drop for ControlFileGuard {
    fn drop(&mut self) {
        // Fails only if the file is gone already.
        let _ = std::fs::remove_file(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(listen: &str) -> ControlConfig {
        ControlConfig { listen: listen.into(), ..ControlConfig::default() }
    }

    #[test]
    fn the_token_is_random_and_debug_output_hides_it() {
        let [one, other] = [Token::random().unwrap(), Token::random().unwrap()];
        assert_eq!(one.reveal().len(), 64);
        assert!(
            one.is(one.reveal()) && !one.is(other.reveal()) && !one.is("") && !one.is(&one.reveal()[..63])
        );
        assert!(!format!("{one:?}").contains(one.reveal()));
    }

    #[test]
    fn a_chosen_token_is_long_and_is_sent_in_one_header() {
        let token = Token::chosen(&"a".repeat(32)).unwrap();
        assert!(token.is(&"a".repeat(32)) && !token.is(&"a".repeat(31)));
        assert_eq!(Token::chosen(&"a".repeat(31)).unwrap_err(), "holds fewer than 32 characters");
        let spaced = format!("{} {}", "a".repeat(20), "b".repeat(20));
        assert_eq!(Token::chosen(&spaced).unwrap_err(), "holds characters that no token has");
        let config = ControlConfig { token_env: Some("NO_SUCH_TOKEN".into()), ..ControlConfig::default() };
        let error = Bound::bind(&config).err().unwrap().to_string();
        assert!(
            error.starts_with("control.token_env: the environment variable NO_SUCH_TOKEN is not set; "),
            "{error}"
        );
    }

    #[test]
    fn off_binds_nothing_and_a_port_in_use_is_named() {
        assert!(Bound::bind(&config("off")).unwrap().is_none());
        let first = Bound::bind(&config("127.0.0.1:0")).unwrap().unwrap();
        assert!(!first.is_remote());
        let taken = first.address.to_string();
        let error = Bound::bind(&config(&taken)).unwrap_err().to_string();
        let port = first.address.port();
        assert_eq!(
            error,
            format!(
                "control.listen = \"{taken}\": port {port} is in use; choose another one: \
                 port 0 takes any free port, --no-control runs without the control channel"
            )
        );
    }

    #[test]
    fn only_the_owner_can_read_the_file_and_the_guard_removes_it() {
        let folder = tempfile::tempdir().unwrap();
        let run_dir = RunDir::new(folder.path());
        let bound = Bound::bind(&config("127.0.0.1:0")).unwrap().unwrap();
        let guard = ControlFile::write(&run_dir, &bound).unwrap();
        let file = ControlFile::read(&run_dir).unwrap();
        assert_eq!((file.address, file.token.expose_secret()), (bound.url(), bound.token.reveal()));
        assert!(ControlFile { pid: std::process::id(), ..ControlFile::read(&run_dir).unwrap() }.is_live());
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = run_dir.control().metadata().unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        drop(guard);
        assert!(ControlFile::read(&run_dir).is_none());
    }
}
