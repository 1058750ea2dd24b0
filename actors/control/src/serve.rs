//! Starts and ends the control channel of a run. A supervisor restarts the server when it fails.

use std::time::{Duration, Instant};

use ractor::{Actor, ActorProcessingErr, ActorRef, SupervisionEvent};
use tokio::task::JoinHandle;

use super::listen::{Bound, ControlError, ControlFile, ControlFileGuard};
use super::server::{ControlArgs, ControlServer};
use run::RunHandle;
use runtime::RestartBudget;

/// Longest wait for the server to finish the answers in progress.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(5);

/// A running control channel. Dropping it removes `control.json`; [`Serving::end`] also stops the server.
pub struct Serving {
    supervisor: ActorRef<()>,
    joined: JoinHandle<()>,
    _file: ControlFileGuard,
}

/// Serves a run at a bound address and writes `control.json` into its directory.
///
/// Errors: [`ControlError`]: the file can't be written, or the server can't be started.
pub async fn serve(run: RunHandle, bound: Bound) -> Result<Serving, ControlError> {
    let file = ControlFile::write(run.run_dir(), &bound)?;
    let args = ControlArgs::new(run, bound).map_err(ControlError::Runtime)?;
    let (supervisor, joined) = Actor::spawn(None, Control, args).await.map_err(ControlError::Start)?;
    Ok(Serving { supervisor, joined, _file: file })
}

impl Serving {
    /// Publishes the end of the run, waits for the answers in progress, and stops the server.
    pub async fn end(self) {
        self.supervisor.stop(None);
        // The supervisor's own result carries no information.
        let _ = tokio::time::timeout(SHUTDOWN_TIMEOUT, self.joined).await;
    }
}

struct Control;

struct ControlState {
    args: ControlArgs,
    budget: RestartBudget,
}

impl Actor for Control {
    type Msg = ();
    type State = ControlState;
    type Arguments = ControlArgs;

    async fn pre_start(
        &self,
        myself: ActorRef<()>,
        args: ControlArgs,
    ) -> Result<ControlState, ActorProcessingErr> {
        let state = ControlState { args, budget: RestartBudget::new(5, Duration::from_secs(60)) };
        state.start(&myself).await?;
        Ok(state)
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<()>,
        event: SupervisionEvent,
        state: &mut ControlState,
    ) -> Result<(), ActorProcessingErr> {
        let SupervisionEvent::ActorFailed(_, error) = event else { return Ok(()) };
        if state.budget.spend(Instant::now()) && state.start(&myself).await.is_ok() {
            tracing::warn!("the control channel failed and was restarted: {error}");
        } else {
            tracing::warn!(
                "the control channel failed too often and is closed; the training continues: {error}"
            );
        }
        Ok(())
    }

    async fn post_stop(&self, myself: ActorRef<()>, _: &mut ControlState) -> Result<(), ActorProcessingErr> {
        myself.stop_children_and_wait(None, Some(SHUTDOWN_TIMEOUT)).await;
        Ok(())
    }
}

impl ControlState {
    async fn start(&self, myself: &ActorRef<()>) -> Result<(), ActorProcessingErr> {
        Actor::spawn_linked(None, ControlServer, self.args.clone(), myself.get_cell()).await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rewards::RewardRegistry;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;
    use tokio::sync::{mpsc, watch};

    use super::*;
    use crate::server::{ControlMsg, watched};
    use run::RunArgs;

    const SCENARIO: &str = r#"
        [run]
        threads = 1
        device = "cpu"
        [policy]
        from_scratch = true
        [data.soundscapes]
        train_clips = 2
        heldout_clips = 1
        [eval]
        limit = 1
        [[arm]]
        name = "base"
        method = "none"
    "#;

    #[tokio::test(flavor = "multi_thread")]
    async fn a_server_that_panics_is_restarted_at_the_same_address() {
        let folder = tempfile::tempdir().unwrap();
        let experiment =
            scenarios::scenario::parse(SCENARIO, &folder.path().join("a.toml"), &[], &[], None).unwrap();
        let bound = Bound::bind(&experiment.control).unwrap().unwrap();
        let address = bound.address;
        let args = RunArgs {
            experiment,
            run_dir: records::OwnedRunDir::claim(records::RunDir::new(folder.path())).unwrap(),
            registry: Arc::new(RewardRegistry::standard()),
            resume: false,
            audio_source: None,
            controlled: true,
            replay: None,
            ranks: None,
        };
        let (_stop, stopping) = watch::channel(false);
        let running = run::start(args, mpsc::unbounded_channel().0, stopping).await.unwrap();
        let serving = serve(running.handle.clone(), bound).await.unwrap();
        let server = || serving.supervisor.get_children().pop();
        let first = server().unwrap();

        watched(ActorRef::<ControlMsg>::from(first.clone()), async { panic!("on purpose") }).await;
        while server().is_none_or(|server| server.get_id() == first.get_id()) {
            tokio::task::yield_now().await;
        }
        let mut stream = TcpStream::connect(address).await.unwrap();
        let asked = format!("GET / HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        stream.write_all(asked.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        running.end().await.unwrap();
        serving.end().await;
    }
}
