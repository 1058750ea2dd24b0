//! Evaluates a server in place of a policy: progress, signals and exit codes. The crate `evaluation` does the work.

use evaluation::{ServerError, ServerEvent, ServerOutcome, evaluate_server};
use records::OwnedRunDir;
use scenarios::Experiment;
use tokio::sync::watch;

use crate::failure::Failure;
use crate::progress::{Count, Screen};
use crate::signals::stop_on_signal;
use crate::streams::errln;

/// Asks the server of the experiment, and records its answers.
pub fn evaluate(experiment: &Experiment, owned: &OwnedRunDir, screen: &Screen) -> Result<(), Failure> {
    let runtime = tokio::runtime::Runtime::new()
        .map_err(|error| Failure::Running(format!("the async runtime could not be started: {error}")))?;
    let (stop, stopped) = watch::channel(false);
    stop_on_signal(stop, screen.clone(), "stopping after the questions in flight")?;
    let run_dir = owned.run_dir();
    let mut count = Count::new(screen, "questions");
    let outcome = {
        let mut show = |event| show(&mut count, event);
        runtime.block_on(evaluate_server(experiment, run_dir, &mut show, &stopped))
    };
    count.finish();
    runtime.shutdown_background();
    let resume = || errln!("to continue: sandbox eval --resume {}", run_dir.path().display());
    match outcome {
        Ok(ServerOutcome::Done) => Ok(()),
        Ok(ServerOutcome::Interrupted) => {
            resume();
            Err(Failure::Interrupted)
        }
        Err(ServerError::Input(message)) => Err(Failure::Input(message)),
        Err(error @ (ServerError::Failed(_) | ServerError::Records(_) | ServerError::Draft(_))) => {
            resume();
            Err(Failure::running(error))
        }
    }
}

fn show(count: &mut Count, event: ServerEvent) {
    match event {
        ServerEvent::Asked { done, total } => count.show(done, total),
        ServerEvent::PassDone(evaluation) => {
            let (overall, asked) = (&evaluation.overall, evaluation.questions_asked());
            let share = |part: u64| 100.0 * part as f64 / overall.n.max(1) as f64;
            let of_all = if asked < evaluation.questions {
                format!(" ({asked} of {} asked)", evaluation.questions)
            } else {
                String::new()
            };
            count.line(&format!(
                "{}: accuracy {:.1} %{of_all}, lenient {:.1} %",
                evaluation.label(),
                share(overall.correct),
                share(overall.correct_lenient)
            ));
        }
        // The log shows warnings on the screen.
        ServerEvent::Warning(message) => tracing::warn!("{message}"),
    }
}
