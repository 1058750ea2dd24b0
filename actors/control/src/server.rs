//! The server: an actor that accepts connections, answers requests and runs the feed of events.
//!
//! - `SERVER-1` the number of connections is bounded, and so is the time a client may take to send its request and to
//!   read the answer. No client can use up the file descriptors that the training needs, and none without the token can
//!   keep out one that has it (see [`places`](super::places)).

use std::any::Any;
use std::io;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::http::Uri;
use axum::middleware;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{sleep, timeout};
use tower::ServiceExt;
use tower_http::catch_panic::CatchPanicLayer;

use super::error::ApiError;
use super::graceful_close::GracefulClose;
use super::guard::{Gate, HEAD_BYTES, guard};
use super::guesses::Guesses;
use super::host::Hosts;
use super::listen::Bound;
use super::places::{Eviction, PLACES, Places, Visitor};
use super::shared::Shared;
use super::{api, feed, page, prometheus};
use run::RunHandle;

/// Connections that are open at once: those that have a place, and some that are being closed.
const CONNECTIONS: usize = 2 * PLACES + 64;

/// The most headers that are parsed. A head with more gets a bare 431; the guard refuses fewer with a reason.
const PARSED_HEADERS: usize = 1024;

/// Longest wait for the head of a request, also of the next one on an idle connection.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// Longest wait for answers in progress when the run ends.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(2);

/// The parts that survive a restart of the server.
#[derive(Clone)]
pub(super) struct ControlArgs {
    listener: Arc<TcpListener>,
    router: Router,
    shared: Arc<Shared>,
}

impl ControlArgs {
    pub fn new(run: RunHandle, bound: Bound) -> io::Result<Self> {
        let hosts = Hosts { port: bound.address.port(), remote: bound.is_remote(), listed: bound.hosts };
        let gate = Arc::new(Gate { token: bound.token, hosts, guesses: Guesses::default() });
        let (routes, openapi) = api::routes();
        let shared = Arc::new(Shared::new(run, openapi));
        let router = routes
            .merge(prometheus::routes())
            .with_state(shared.clone())
            .merge(page::routes())
            .fallback(async |uri: Uri| ApiError::not_found(format!("there is nothing at {}", uri.path())))
            .method_not_allowed_fallback(async |uri: Uri| {
                ApiError::method(format!(
                    "{} does not support this method; see /api/openapi.json",
                    uri.path()
                ))
            })
            .layer(CatchPanicLayer::custom(panicked))
            .layer(middleware::from_fn_with_state(gate, guard));
        Ok(ControlArgs { listener: Arc::new(TcpListener::from_std(bound.listener)?), router, shared })
    }
}

fn panicked(_: Box<dyn Any + Send>) -> Response {
    ApiError::failed("the request handler panicked; see run.log").into_response()
}

/// Messages to the server.
pub(super) enum ControlMsg {
    /// One of its tasks has panicked.
    Failed { error: String },
}

/// The actor that serves the control channel.
pub(super) struct ControlServer;

/// The tasks of a server, and the switch that ends them.
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
            // The supervisor restarts it.
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
        if timeout(SHUTDOWN_TIMEOUT, &mut state.accepting).await.is_err() {
            state.accepting.abort();
        }
        Ok(())
    }
}

impl Drop for ControlState {
    /// A failed actor must leave no task behind, for its successor starts its own.
    fn drop(&mut self) {
        self.accepting.abort();
        self.feeding.abort();
    }
}

/// Runs a task and reports a panic in it to the actor.
pub(super) async fn watched(actor: ActorRef<ControlMsg>, task: impl Future<Output = ()>) {
    if AssertUnwindSafe(task).catch_unwind().await.is_err() {
        let error = "a task of the control channel panicked; see run.log".to_owned();
        // Fails only if the actor has ended.
        let _ = actor.cast(ControlMsg::Failed { error });
    }
}

/// Accepts connections until the run ends, then waits for the answers in progress.
async fn accept(listener: Arc<TcpListener>, router: Router, mut stop: watch::Receiver<bool>) {
    let (open, places) = (Arc::new(Semaphore::new(CONNECTIONS)), Arc::new(Places::default()));
    let mut connections = JoinSet::new();
    loop {
        let (stream, client, permit) = tokio::select! {
            (accepted, permit) = next_connection(&listener, &open) => match (accepted, permit) {
                (Ok((stream, client)), Some(permit)) => (stream, client, permit),
                (Err(error), _) => {
                    // The client has gone, or this process is out of file descriptors. Waiting gives it time to free some.
                    tracing::debug!("cannot accept a connection to the control channel: {error}");
                    sleep(Duration::from_millis(100)).await;
                    continue;
                }
                (Ok(_), None) => break,
            },
            () = stopped(&mut stop) => break,
        };
        while connections.try_join_next().is_some() {}
        let (visitor, eviction) = places.enter(client.ip());
        connections.spawn(serve(stream, router.clone(), stop.clone(), visitor, eviction, permit));
    }
    while connections.join_next().await.is_some() {}
}

/// The next connection, accepted when there is room for it.
async fn next_connection(
    listener: &TcpListener,
    open: &Arc<Semaphore>,
) -> (io::Result<(TcpStream, SocketAddr)>, Option<OwnedSemaphorePermit>) {
    // `None` only if the semaphore were closed, which nobody does.
    let permit = open.clone().acquire_owned().await.ok();
    (listener.accept().await, permit)
}

async fn stopped(stop: &mut watch::Receiver<bool>) {
    // Fails only if the server has gone, which ends the run's connections too.
    let _ = stop.wait_for(|&stop| stop).await;
}

/// Answers the requests of one connection, one after the other, until it ends or has to make room.
async fn serve(
    stream: TcpStream,
    router: Router,
    mut stop: watch::Receiver<bool>,
    visitor: Visitor,
    eviction: Eviction,
    _permit: OwnedSemaphorePermit,
) {
    let visitor = Arc::new(visitor);
    let service = router.map_request(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(visitor.clone());
        request
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_headers(PARSED_HEADERS)
        // hyper closes the connection on a larger head. The limit is above the guard's, so that the guard can answer
        // with a reason first.
        .max_buf_size(4 * HEAD_BYTES)
        .serve_connection(TokioIo::new(GracefulClose::new(stream)), TowerToHyperService::new(service));
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        ended = &mut connection => ended,
        () = eviction.wait() => return,
        () = stopped(&mut stop) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!("a connection to the control channel ended early: {error}");
    }
}
