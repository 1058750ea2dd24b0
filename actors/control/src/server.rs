//! The server: an actor of the run that answers requests and passes on what happens.
//!
//! - `SERVER-1` connections are bounded, and each is given a bounded time to say what it wants and to take the answer,
//!   so that no client keeps others out for long or takes the files away that the training needs.

use std::any::Any;
use std::io;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::Uri;
use axum::middleware;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{sleep, timeout};
use tower_http::catch_panic::CatchPanicLayer;

use super::error::ApiError;
use super::guard::{Gate, HEAD_BYTES, guard};
use super::linger::Lingering;
use super::listen::Bound;
use super::shared::Shared;
use super::{api, feed, page};
use run::RunHandle;

/// Connections at once; the next ones are turned away.
const CONNECTIONS: usize = 256;

/// Longest wait for the head of a request, and for the next one on a connection.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// Longest wait for answers under way when the run ends.
const LAST_ANSWERS: Duration = Duration::from_secs(2);

/// What the server is made of, the first time and every time after.
#[derive(Clone)]
pub(super) struct ControlArgs {
    listener: Arc<TcpListener>,
    router: Router,
    shared: Arc<Shared>,
}

impl ControlArgs {
    /// For a run, at an address that is listened on.
    ///
    /// # Errors
    /// The runtime can't take the listener over.
    pub fn new(run: RunHandle, bound: Bound) -> io::Result<Self> {
        let gate = Arc::new(Gate {
            port: bound.address.port(),
            remote: bound.is_remote(),
            token: bound.token,
            hosts: bound.hosts,
        });
        let (routes, openapi) = api::routes();
        let shared = Arc::new(Shared::new(run, openapi));
        let router = routes
            .with_state(shared.clone())
            .merge(page::routes())
            .fallback(async |uri: Uri| ApiError::not_found(format!("there is nothing at {}", uri.path())))
            .method_not_allowed_fallback(async |uri: Uri| {
                ApiError::method(format!("this cannot be done with {}; see /api/openapi.json", uri.path()))
            })
            .layer(CatchPanicLayer::custom(panicked))
            .layer(middleware::from_fn_with_state(gate, guard));
        Ok(ControlArgs { listener: Arc::new(TcpListener::from_std(bound.listener)?), router, shared })
    }
}

fn panicked(_: Box<dyn Any + Send>) -> Response {
    ApiError::failed("answering this failed; run.log says where").into_response()
}

/// Messages to the server.
pub(super) enum ControlMsg {
    /// One of its tasks has failed.
    Failed {
        /// How.
        error: String,
    },
}

/// The actor.
pub(super) struct ControlServer;

/// The tasks of the server.
pub(super) struct ControlState {
    shared: Arc<Shared>,
    stop: watch::Sender<bool>,
    accepting: JoinHandle<()>,
    feeding: JoinHandle<()>,
}

impl Actor for ControlServer {
    type Msg = ControlMsg;
    type State = ControlState;
    type Arguments = ControlArgs;

    async fn pre_start(
        &self,
        myself: ActorRef<ControlMsg>,
        args: ControlArgs,
    ) -> Result<ControlState, ActorProcessingErr> {
        let ControlArgs { listener, router, shared } = args;
        let stop = watch::Sender::new(false);
        let accepting = tokio::spawn(watched(myself.clone(), accept(listener, router, stop.subscribe())));
        let feeding = tokio::spawn(watched(myself, feed::feed(shared.clone())));
        Ok(ControlState { shared, stop, accepting, feeding })
    }

    async fn handle(
        &self,
        _: ActorRef<ControlMsg>,
        message: ControlMsg,
        _: &mut ControlState,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            // The run starts it again.
            ControlMsg::Failed { error } => Err(error.into()),
        }
    }

    async fn post_stop(
        &self,
        _: ActorRef<ControlMsg>,
        state: &mut ControlState,
    ) -> Result<(), ActorProcessingErr> {
        state.feeding.abort();
        state.shared.hub.end();
        state.stop.send_replace(true);
        if timeout(LAST_ANSWERS, &mut state.accepting).await.is_err() {
            state.accepting.abort();
        }
        Ok(())
    }
}

impl Drop for ControlState {
    /// An actor that fails leaves no task behind: its successor has its own.
    fn drop(&mut self) {
        self.accepting.abort();
        self.feeding.abort();
    }
}

/// Tells the actor if the task panics.
pub(super) async fn watched(actor: ActorRef<ControlMsg>, task: impl Future<Output = ()>) {
    if AssertUnwindSafe(task).catch_unwind().await.is_err() {
        let error = "a task of the control channel failed; run.log says where".to_owned();
        // An actor that has gone needs not to be told.
        let _ = actor.cast(ControlMsg::Failed { error });
    }
}

/// Takes connections in until the run ends, and then waits for answers under way.
async fn accept(listener: Arc<TcpListener>, router: Router, mut stop: watch::Receiver<bool>) {
    let (room, doorstep) = (Arc::new(Semaphore::new(CONNECTIONS)), Arc::new(Semaphore::new(CONNECTIONS)));
    let mut connections = JoinSet::new();
    loop {
        let stream = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    // The client has gone, or this process has no file descriptor left: not for long, one hopes.
                    tracing::debug!("a connection to the control channel could not be taken: {error}");
                    sleep(Duration::from_millis(100)).await;
                    continue;
                }
            },
            () = stopped(&mut stop) => break,
        };
        while connections.try_join_next().is_some() {}
        if let Ok(permit) = room.clone().try_acquire_owned() {
            connections.spawn(serve(stream, router.clone(), stop.clone(), permit));
        } else if let Ok(permit) = doorstep.clone().try_acquire_owned() {
            connections.spawn(turn_away(stream, permit));
        }
    }
    while connections.join_next().await.is_some() {}
}

/// Waits until the run ends.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    // An error says that the server has gone, which is as good.
    let _ = stop.wait_for(|&stop| stop).await;
}

/// Answers the requests of one connection, one after the other.
async fn serve(
    stream: TcpStream,
    router: Router,
    mut stop: watch::Receiver<bool>,
    _permit: OwnedSemaphorePermit,
) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        // hyper itself refuses without a word; what the guard can speak to, it has to let through.
        .max_buf_size(4 * HEAD_BYTES)
        .serve_connection(TokioIo::new(Lingering::new(stream)), TowerToHyperService::new(router));
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        ended = &mut connection => ended,
        () = stopped(&mut stop) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!("a connection to the control channel broke off: {error}");
    }
}

/// Says that there is no room.
async fn turn_away(stream: TcpStream, _permit: OwnedSemaphorePermit) {
    const BODY: &str = r#"{"error":"too many connections to this run are open; close some of them"}"#;
    let mut stream = Lingering::new(stream);
    let length = BODY.len();
    let answer = format!(
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\
         connection: close\r\n\r\n{BODY}"
    );
    // Who does not listen need not be told.
    if stream.write_all(answer.as_bytes()).await.is_ok() {
        let _ = stream.shutdown().await;
    }
}
