//! The admin port: `/live`, `/ready`, `/metrics`, `/topology` over HTTP/1.
//!
//! What a page says is decided by pure functions over [`AdminSource`]; the server around them is
//! small and bounded: so many connections, so much time, one request each.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{ALLOW, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::{Semaphore, watch};
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};
use tracing::debug;

use super::topology_page;
use crate::cluster::Topology;
use crate::config::Secret;
use crate::net::tls::{Acceptor, explain};
use crate::net::{Door, Entrance, Lifecycle, Stream, Unwelcome};
use crate::telemetry::metrics::{self, CertificateFigures, Sources, TopologyFigures};
use crate::telemetry::process::ProcessFigures;
use crate::telemetry::{ControlTallies, WorkerTallies, exposition};

/// Connections served at the same time. With one more, the oldest whose request has not come is closed: whoever
/// connects and says nothing pushes out his own, not a probe. Where all have their answers under way, one waits.
const CONNECTIONS_MAX: usize = 32;
/// A connection may take this long from its acceptance to its last byte.
const CONNECTION_TIME: Duration = Duration::from_secs(10);
/// A request's head may take this many bytes (the least hyper allows).
const HEAD_BYTES_MAX: usize = 8192;
/// Rest after accepting failed, so that it does not spin.
const PAUSE: Duration = Duration::from_millis(100);

/// What the pages are made from.
pub struct AdminSource {
    /// The state of the process.
    pub lifecycle: watch::Receiver<Lifecycle>,
    /// The topology in use, once one is known.
    pub topology: Box<dyn Fn() -> Option<Arc<Topology>> + Send + Sync>,
    /// The counters of each worker, in the order of their numbers.
    pub workers: Vec<Arc<WorkerTallies>>,
    /// The counters of the control thread.
    pub control: Arc<ControlTallies>,
    /// The limit of clients.
    pub max_clients: usize,
    /// The certificates in use.
    pub certificates: Box<dyn Fn() -> Vec<CertificateFigures> + Send + Sync>,
    /// The rules of each listener.
    pub entrances: Arc<[Entrance]>,
    /// What `/metrics` and `/topology` want to be shown, if anything.
    pub token: SharedToken,
}

/// A token that may change; none for none.
pub type SharedToken = Arc<ArcSwapOption<Secret>>;

/// Serves the pages for as long as the process runs.
pub async fn run(door: Door, tls: Option<Arc<Acceptor>>, source: Arc<AdminSource>) {
    let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let unasked = Unasked::default();
    for number in 0.. {
        let stream = match poll_fn(|context| door.poll_accept(context)).await {
            Ok(accepted) => accepted.into_tcp(),
            Err(exhausted) => {
                // The accept loop for clients tells of it; a page more or less is not news.
                debug!(reason = %exhausted.0, "the admin port pauses accepting");
                sleep(PAUSE).await;
                continue;
            }
        };
        let Ok(stream) = stream else { continue };
        if slots.available_permits() == 0 {
            unasked.close_oldest();
        }
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else {
            return;
        };
        let (tls, source) = (tls.clone(), Arc::clone(&source));
        let waiting = unasked.place(number);
        let task = tokio::spawn(async move {
            let _slot = slot;
            let served = async {
                let stream = match &tls {
                    None => Stream::Tcp(stream),
                    Some(tls) => match tls.accept(stream).await {
                        Ok((stream, _)) => stream,
                        Err(error) => {
                            debug!(reason = explain(&error), "an admin connection failed");
                            return;
                        }
                    },
                };
                serve(stream, source, waiting).await;
            };
            if timeout(CONNECTION_TIME, served).await.is_err() {
                debug!("an admin connection took too long and was closed");
            }
        });
        unasked.note(number, task.abort_handle());
    }
}

/// Connections whose request has not come yet; the oldest has the lowest number.
#[derive(Clone, Default)]
struct Unasked(Arc<Mutex<BTreeMap<u64, Option<AbortHandle>>>>);

/// A connection's place among them, until its request is there or it ends.
struct Waiting {
    all: Unasked,
    number: u64,
}

impl Unasked {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Option<AbortHandle>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn place(&self, number: u64) -> Waiting {
        self.lock().insert(number, None);
        let all = self.clone();
        Waiting { all, number }
    }

    /// Says how the connection is closed, if it has not asked already.
    fn note(&self, number: u64, task: AbortHandle) {
        if let Some(place) = self.lock().get_mut(&number) {
            *place = Some(task);
        }
    }

    fn close_oldest(&self) {
        let oldest = self.lock().pop_first();
        if let Some((_, Some(task))) = oldest {
            task.abort();
            debug!("an admin connection gave way before its request was there");
        }
    }
}

impl Waiting {
    fn is_over(&self) {
        self.all.lock().remove(&self.number);
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.is_over();
    }
}

/// Serves one request on one connection.
async fn serve(stream: Stream, source: Arc<AdminSource>, waiting: Waiting) {
    let answer = service_fn(move |request: Request<hyper::body::Incoming>| {
        waiting.is_over();
        let path = request.uri().path();
        let page = match is_allowed(path, request.headers(), source.token.load().as_deref()) {
            true => page(request.method(), path, &source),
            false => refusal(),
        };
        async move { Ok::<_, Infallible>(page.into_response()) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(CONNECTION_TIME)
        .max_buf_size(HEAD_BYTES_MAX)
        // A scrape every few seconds gains nothing from a connection that stays, and without one
        // no idle connection can occupy a slot.
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), answer)
        .await;
    if let Err(error) = served {
        debug!(%error, "an admin connection failed");
    }
}

/// Whether a page is given to whoever asks so. Probes show no token: that the process lives, or is ready, is no
/// secret.
fn is_allowed(path: &str, headers: &HeaderMap, token: Option<&Secret>) -> bool {
    let Some(token) = token.filter(|_| !matches!(path, "/live" | "/ready")) else {
        return true;
    };
    let shown = headers.get(AUTHORIZATION).map(HeaderValue::as_bytes);
    shown
        .and_then(|shown| shown.split_at_checked(BEARER.len()))
        .is_some_and(|(scheme, shown)| scheme.eq_ignore_ascii_case(BEARER) && token.matches(shown))
}

const BEARER: &[u8] = b"Bearer ";

fn refusal() -> Page {
    Page {
        status: StatusCode::UNAUTHORIZED,
        content_type: TEXT,
        body: "show the token: Authorization: Bearer ...\n".to_owned(),
    }
}

/// One page.
#[derive(Debug)]
struct Page {
    status: StatusCode,
    content_type: &'static str,
    body: String,
}

const TEXT: &str = "text/plain; charset=utf-8";

/// The pages there are, told to whoever asks for another.
const PAGES: &str = "\
/live      200 while the process runs
/ready     200 when requests are served, else 503 and the reason
/metrics   Prometheus metrics
/topology  the cluster as Keyway sees it, JSON
";

fn page(method: &Method, path: &str, source: &AdminSource) -> Page {
    let text = |status, body: &str| Page {
        status,
        content_type: TEXT,
        body: body.to_owned(),
    };
    if method != Method::GET && method != Method::HEAD {
        return text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n");
    }
    match path {
        "/live" => text(StatusCode::OK, "alive\n"),
        "/ready" => match readiness(source) {
            Ok(()) => text(StatusCode::OK, "ready\n"),
            Err(reason) => text(StatusCode::SERVICE_UNAVAILABLE, &format!("{reason}\n")),
        },
        "/metrics" => Page {
            status: StatusCode::OK,
            content_type: exposition::CONTENT_TYPE,
            body: metrics_page(source),
        },
        "/topology" => match (source.topology)() {
            Some(topology) => Page {
                status: StatusCode::OK,
                content_type: "application/json",
                body: topology_page::render(&topology),
            },
            None => Page {
                status: StatusCode::SERVICE_UNAVAILABLE,
                content_type: "application/json",
                body: "{\"error\":\"no topology is known yet\"}\n".to_owned(),
            },
        },
        _ => text(StatusCode::NOT_FOUND, PAGES),
    }
}

impl Page {
    fn into_response(self) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::new(Bytes::from(self.body)));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(self.content_type));
        if self.status == StatusCode::METHOD_NOT_ALLOWED {
            headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

/// Whether requests are served; if not, why. A shard that is down does not make Keyway unready: the
/// others' requests are served (contract: F4).
fn readiness(source: &AdminSource) -> Result<(), &'static str> {
    match *source.lifecycle.borrow() {
        Lifecycle::Ready => Ok(()),
        Lifecycle::Starting => Err("starting: no seed has told the topology yet"),
        Lifecycle::Draining { .. } => Err("draining: clients are being closed"),
        Lifecycle::Stopped => Err("stopped"),
    }
}

fn metrics_page(source: &AdminSource) -> String {
    let topology = (source.topology)();
    metrics::render(&Sources {
        workers: &source.workers,
        control: &source.control,
        is_ready: readiness(source).is_ok(),
        topology: topology.as_deref().map(topology_figures),
        max_clients: source.max_clients,
        certificates: (source.certificates)(),
        refused_connections: [
            ("network", refused(source, Unwelcome::Network)),
            ("address", refused(source, Unwelcome::Crowded)),
        ],
        process: ProcessFigures::now(),
    })
}

fn refused(source: &AdminSource, why: Unwelcome) -> u64 {
    let counts = source.entrances.iter();
    counts.map(|entrance| entrance.refused.value(why)).sum()
}

fn topology_figures(topology: &Topology) -> TopologyFigures {
    TopologyFigures {
        version: topology.version,
        nodes: topology.nodes.len(),
        shards: topology.shards().len(),
        slots_owned: topology_page::slots_owned(topology),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::Mode;
    use crate::control::health;
    use crate::net::{Listener, Liveness};

    fn source(lifecycle: Lifecycle, topology: Option<Topology>) -> AdminSource {
        let (_, lifecycle) = watch::channel(lifecycle);
        let topology = topology.map(Arc::new);
        AdminSource {
            lifecycle,
            topology: Box::new(move || topology.clone()),
            workers: vec![Arc::new(WorkerTallies::default())],
            control: Arc::new(ControlTallies::default()),
            max_clients: 7,
            certificates: Box::new(Vec::new),
            entrances: Arc::from(Vec::new()),
            token: SharedToken::default(),
        }
    }

    #[test]
    fn each_path_has_its_page() {
        let ready = || source(Lifecycle::Ready, Some(Topology::new(Mode::Cluster, vec![])));
        let starting = || source(Lifecycle::Starting, None);
        let draining = || {
            let until = std::time::Instant::now();
            source(Lifecycle::Draining { until }, None)
        };
        for (method, path, source, status, part) in [
            (Method::GET, "/live", starting(), 200, "alive"),
            (Method::GET, "/ready", starting(), 503, "starting"),
            (Method::GET, "/ready", ready(), 200, "ready"),
            (Method::GET, "/ready", draining(), 503, "draining"),
            (
                Method::GET,
                "/metrics",
                ready(),
                200,
                "keyway_clients_max 7\n",
            ),
            (Method::GET, "/metrics", starting(), 200, "keyway_ready 0\n"),
            (
                Method::GET,
                "/topology",
                ready(),
                200,
                "\"mode\": \"cluster\"",
            ),
            (Method::GET, "/topology", starting(), 503, "no topology"),
            (Method::GET, "/", ready(), 404, "/topology"),
            (Method::GET, "/nonsense", ready(), 404, "/ready"),
            (Method::POST, "/live", ready(), 405, "GET"),
        ] {
            let page = page(&method, path, &source);
            assert_eq!(page.status.as_u16(), status, "{method} {path}");
            assert!(page.body.contains(part), "{method} {path}: {}", page.body);
        }
    }

    #[test]
    fn the_token_opens_all_but_the_probes() {
        let token = Secret::new("hunter2");
        for (path, shown, expected) in [
            ("/live", None, true),
            ("/ready", None, true),
            ("/metrics", None, false),
            ("/metrics", Some("Bearer hunter2"), true),
            ("/metrics", Some("bearer hunter2"), true),
            ("/metrics", Some("Bearer hunter"), false),
            ("/metrics", Some("Bearer"), false),
            ("/metrics", Some("Basic hunter2"), false),
            ("/topology", None, false),
            ("/nonsense", None, false),
        ] {
            let mut headers = HeaderMap::new();
            if let Some(shown) = shown {
                headers.insert(AUTHORIZATION, HeaderValue::from_static(shown));
            }
            let is_allowed = |token| is_allowed(path, &headers, token);
            assert_eq!(is_allowed(Some(&token)), expected, "{path} {shown:?}");
            assert!(is_allowed(None));
        }
    }

    #[test]
    fn the_health_check_and_the_server_understand_each_other() {
        let listener = Listener::bind_tcp(
            "127.0.0.1:0".parse().expect("an address"),
            8,
            Liveness::default(),
        )
        .expect("a free port");
        let address = listener.tcp_address();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        let (lifecycle, following) = watch::channel(Lifecycle::Starting);
        let mut source = source(Lifecycle::Starting, None);
        source.lifecycle = following;
        runtime.block_on(async {
            let door = listener.open().expect("watched");
            let server = tokio::spawn(run(door, None, Arc::new(source)));
            let ask = || tokio::task::spawn_blocking(move || health::check(address, false));
            let told = ask().await.expect("it ends").expect_err("not ready yet");
            assert!(told.starts_with("starting"), "{told}");
            lifecycle.send_replace(Lifecycle::Ready);
            assert_eq!(ask().await.expect("it ends"), Ok("ready".to_owned()));
            server.abort();
        });
    }
}
