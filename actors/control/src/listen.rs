//! Where the control channel listens, the token that opens it, and the file that tells both to the user's own tools.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

use rand::TryRngCore;
use rand::rngs::OsRng;
use scenarios::ControlConfig;
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;

use records::{RecordsError, RunDir, replace_file};

/// Why there is no control channel. One line each.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// The address can't be listened on.
    #[error("control.listen = \"{listen}\": {problem}")]
    Listen {
        /// What the scenario says.
        listen: String,
        /// What is wrong, and what to write instead.
        problem: String,
    },
    /// There are no random numbers to make a token of.
    #[error("no token can be made for the control channel: {0}; --no-control runs without it")]
    Token(String),
    /// `control.json` can't be written.
    #[error(transparent)]
    File(#[from] RecordsError),
    /// It can't be started.
    #[error("the control channel could not start: {0}; --no-control runs without it")]
    Start(String),
}

/// The secret without which nothing under `/api` answers: 256 random bits in hexadecimal.
#[derive(Clone)]
pub struct Token(String);

impl Token {
    fn random() -> Result<Self, ControlError> {
        let mut bytes = [0u8; 32];
        OsRng.try_fill_bytes(&mut bytes).map_err(|error| ControlError::Token(error.to_string()))?;
        Ok(Token(bytes.iter().map(|byte| format!("{byte:02x}")).collect()))
    }

    /// Whether `given` is this token, in a time that does not depend on where they differ.
    pub fn is(&self, given: &str) -> bool {
        self.0.as_bytes().ct_eq(given.as_bytes()).into()
    }

    /// The token itself, for the file and the page's address.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// An address that is listened on, before anything is served there.
#[derive(Debug)]
pub struct Bound {
    pub(super) listener: TcpListener,
    pub(super) address: SocketAddr,
    pub(super) token: Token,
    pub(super) hosts: Vec<String>,
}

impl Bound {
    /// Listens where the scenario says; `None` with `listen = "off"`.
    ///
    /// # Errors
    /// The port is taken, or the address is none of this machine's; one line says what to write instead.
    pub fn bind(config: &ControlConfig) -> Result<Option<Self>, ControlError> {
        let Some(wanted) = config.address() else { return Ok(None) };
        let refused = |error: &io::Error| ControlError::Listen {
            listen: config.listen.clone(),
            problem: problem(wanted, error),
        };
        let listener = TcpListener::bind(wanted).map_err(|error| refused(&error))?;
        listener.set_nonblocking(true).map_err(|error| refused(&error))?;
        let address = listener.local_addr().map_err(|error| refused(&error))?;
        Ok(Some(Bound { listener, address, token: Token::random()?, hosts: config.hosts.clone() }))
    }

    /// Where this machine reaches it: `http://127.0.0.1:40123`.
    pub fn url(&self) -> String {
        let ip = match self.address.ip() {
            ip if !ip.is_unspecified() => ip,
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        };
        format!("http://{}", SocketAddr::new(ip, self.address.port()))
    }

    /// What to open in a browser: the address with the token behind `#`, where no server and no log sees it.
    pub fn page(&self) -> String {
        format!("{}/#{}", self.url(), self.token.reveal())
    }

    /// The token.
    pub fn token(&self) -> &Token {
        &self.token
    }

    /// Whether other machines can reach it.
    pub fn is_remote(&self) -> bool {
        !self.address.ip().is_loopback()
    }
}

fn problem(wanted: SocketAddr, error: &io::Error) -> String {
    let port = wanted.port();
    let instead = "port 0 takes any free one, --no-control runs without it";
    match error.kind() {
        io::ErrorKind::AddrInUse => format!("another program has port {port}; choose another: {instead}"),
        io::ErrorKind::PermissionDenied => {
            format!("port {port} is reserved; choose one above 1023: {instead}")
        }
        io::ErrorKind::AddrNotAvailable => {
            format!("this machine has no address {}; write 127.0.0.1 instead", wanted.ip())
        }
        _ => format!("cannot be listened on: {error}; {instead}"),
    }
}

/// `control.json` in the run directory: how the user's own tools reach the run. Only its owner can read it, and it
/// is there as long as the run is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ControlFile {
    /// `http://127.0.0.1:40123`.
    pub address: String,
    /// The bearer token.
    pub token: String,
    /// The process that serves it.
    pub pid: u32,
}

impl ControlFile {
    /// Writes it for `bound`; dropping what is returned removes it again.
    ///
    /// # Errors
    /// Whatever the file system says, with the file's name.
    pub(super) fn write(run_dir: &RunDir, bound: &Bound) -> Result<ControlFileGuard, ControlError> {
        let path = run_dir.control();
        let file = ControlFile {
            address: bound.url(),
            token: bound.token.reveal().to_owned(),
            pid: std::process::id(),
        };
        let json = serde_json::to_string_pretty(&file).expect("strings and a number");
        // `replace_file` makes files that only their owner can read.
        replace_file(&path, format!("{json}\n").as_bytes())?;
        Ok(ControlFileGuard(path))
    }

    /// Reads that of a run; `None` if the run has none, or none that can be read.
    pub fn read(run_dir: &RunDir) -> Option<Self> {
        serde_json::from_slice(&std::fs::read(run_dir.control()).ok()?).ok()
    }

    /// Whether the process that wrote it is still there, as far as can be told.
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
        // A file that is gone already is as good.
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
    fn the_token_is_256_random_bits_and_is_not_printed() {
        let [one, other] = [Token::random().unwrap(), Token::random().unwrap()];
        assert_eq!(one.reveal().len(), 64);
        assert!(
            one.is(one.reveal()) && !one.is(other.reveal()) && !one.is("") && !one.is(&one.reveal()[..63])
        );
        assert!(!format!("{one:?}").contains(one.reveal()));
    }

    #[test]
    fn off_listens_nowhere_and_a_taken_port_is_named() {
        assert!(Bound::bind(&config("off")).unwrap().is_none());
        let first = Bound::bind(&config("127.0.0.1:0")).unwrap().unwrap();
        assert!(!first.is_remote());
        let taken = first.address.to_string();
        let error = Bound::bind(&config(&taken)).unwrap_err().to_string();
        let port = first.address.port();
        assert_eq!(
            error,
            format!(
                "control.listen = \"{taken}\": another program has port {port}; choose another: \
                 port 0 takes any free one, --no-control runs without it"
            )
        );
    }

    #[test]
    fn the_file_is_the_owners_alone_and_goes_with_the_run() {
        let folder = tempfile::tempdir().unwrap();
        let run_dir = RunDir::new(folder.path());
        let bound = Bound::bind(&config("127.0.0.1:0")).unwrap().unwrap();
        let guard = ControlFile::write(&run_dir, &bound).unwrap();
        let file = ControlFile::read(&run_dir).unwrap();
        assert_eq!((file.address, file.token.as_str()), (bound.url(), bound.token.reveal()));
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
