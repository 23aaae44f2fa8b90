//! Certificates made for a test, nodes that speak TLS, and a raw client that does.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, SanType,
    date_time_ymd,
};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use tokio_rustls::rustls::{crypto::ring, version};

use super::client::{encode, words};
use super::cluster::{Cluster, ClusterOptions};
use super::ports::Port;
use super::process::Folder;
use super::servers::{Flavor, lock};
use super::value::Value;

/// A CA with a folder for what it signs.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: Folder,
}

/// The files of a certificate and its key.
#[derive(Clone, Debug)]
pub struct Pair {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

/// What a certificate says.
pub struct Subject<'a> {
    /// The common name.
    pub name: &'a str,
    /// Host names and addresses.
    pub hosts: &'a [&'a str],
    /// A URI of the alternative names.
    pub uri: Option<&'a str>,
    /// It ended long ago.
    pub is_expired: bool,
}

impl<'a> Subject<'a> {
    /// A common name alone, and this machine as host.
    pub fn named(name: &'a str) -> Subject<'a> {
        Subject {
            name,
            hosts: &["localhost", "127.0.0.1", "::1"],
            uri: None,
            is_expired: false,
        }
    }
}

impl Authority {
    pub fn new(name: &str) -> Authority {
        let mut params = CertificateParams::new(Vec::<String>::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().expect("a key");
        let issuer = CertifiedIssuer::self_signed(params, key).expect("a CA");
        let folder = Folder::new("tls");
        std::fs::write(folder.path().join("ca.pem"), issuer.pem()).expect("ours");
        Authority { issuer, folder }
    }

    /// The file of its own certificate.
    pub fn ca(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A client that trusts this CA, over a connection.
    #[track_caller]
    pub fn client_over(&self, socket: TcpStream) -> TlsClient {
        let options = TlsOptions {
            ca: self.ca(),
            ..TlsOptions::default()
        };
        TlsClient::try_over(socket, &options).unwrap_or_else(|error| panic!("TLS: {error}"))
    }

    /// Writes a certificate for this machine as `<file>.crt` and `<file>.key`.
    pub fn issue(&self, file: &str) -> Pair {
        self.issue_for(file, &Subject::named(file))
    }

    /// As [`Authority::issue`], for whom the subject says. Each file is replaced at once.
    pub fn issue_for(&self, file: &str, subject: &Subject<'_>) -> Pair {
        let hosts: Vec<String> = subject
            .hosts
            .iter()
            .map(|host| (*host).to_owned())
            .collect();
        let mut params = CertificateParams::new(hosts).expect("host names");
        params
            .distinguished_name
            .push(DnType::CommonName, subject.name);
        if let Some(uri) = subject.uri {
            let uri = uri.try_into().expect("ASCII");
            params.subject_alt_names.push(SanType::URI(uri));
        }
        if subject.is_expired {
            params.not_before = date_time_ymd(2019, 1, 1);
            params.not_after = date_time_ymd(2020, 1, 1);
        }
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        let pair = Pair {
            certificate: self.folder.path().join(format!("{file}.crt")),
            key: self.folder.path().join(format!("{file}.key")),
        };
        replace(&pair.key, &key.serialize_pem());
        replace(&pair.certificate, &certificate.pem());
        pair
    }
}

/// Puts a new file in the place of an old one.
pub fn replace(path: &Path, content: &str) {
    let new = path.with_extension("new");
    std::fs::write(&new, content).expect("our own folder can be written");
    std::fs::rename(&new, path).expect("our own folder can be written");
}

/// A path as TOML has it.
pub fn quoted(path: &Path) -> String {
    format!("\"{}\"", path.display())
}

/// A cluster whose nodes want certificates from whoever comes over TLS. A plain port stays for the tests
/// themselves.
pub struct TlsCluster {
    pub cluster: Cluster,
    pub authority: Authority,
    /// The TLS ports, in the order of the nodes.
    pub ports: Vec<Port>,
}

impl TlsCluster {
    /// Three primaries with a replica each. `announces` is `tls-cluster`: whether TLS is what the nodes
    /// announce, and speak among themselves.
    pub fn start(flavor: Flavor, announces: bool) -> TlsCluster {
        TlsCluster::start_with(flavor, announces, Vec::new())
    }

    /// As [`TlsCluster::start`], with more lines for each node's configuration.
    pub fn start_with(flavor: Flavor, announces: bool, config: Vec<String>) -> TlsCluster {
        let authority = Authority::new("the cluster's CA");
        let pair = authority.issue("node");
        let ports = Arc::new(Mutex::new(Vec::new()));
        let leased = Arc::clone(&ports);
        let ca = authority.ca();
        let yes_or_no = if announces { "yes" } else { "no" };
        let cluster = Cluster::start_with(ClusterOptions {
            config,
            node_config: Some(Arc::new(move |_, port| {
                let tls_port = Port::lease();
                let mut lines = vec![
                    format!("tls-port {}", tls_port.number()),
                    format!("tls-cert-file {}", pair.certificate.display()),
                    format!("tls-key-file {}", pair.key.display()),
                    format!("tls-ca-cert-file {}", ca.display()),
                    "tls-auth-clients yes".to_owned(),
                    format!("tls-cluster {yes_or_no}"),
                    format!("tls-replication {yes_or_no}"),
                ];
                if flavor.is_since(7, 0) {
                    // The nodes are introduced to each other by their plain ports.
                    lines.push(format!("cluster-port {}", port + 10_000));
                }
                lock(&leased).push(tls_port);
                lines
            })),
            ..ClusterOptions::of(flavor)
        });
        let ports = std::mem::take(&mut *lock(&ports));
        TlsCluster {
            cluster,
            authority,
            ports,
        }
    }

    /// The nodes' TLS addresses.
    pub fn seeds(&self) -> Vec<SocketAddr> {
        let ports = self.ports.iter();
        ports
            .map(|port| SocketAddr::from(([127, 0, 0, 1], port.number())))
            .collect()
    }
}

/// How a client speaks TLS.
#[derive(Clone, Default)]
pub struct TlsOptions {
    pub ca: PathBuf,
    pub certificate: Option<Pair>,
    pub is_tls12: bool,
}

/// One TLS connection.
pub struct TlsClient {
    stream: StreamOwned<ClientConnection, TcpStream>,
    unread: Vec<u8>,
}

impl TlsClient {
    #[track_caller]
    pub fn connect(addr: SocketAddr, options: &TlsOptions) -> TlsClient {
        TlsClient::try_connect(addr, options)
            .unwrap_or_else(|error| panic!("TLS to {addr}: {error}"))
    }

    /// Connects and shakes hands.
    pub fn try_connect(addr: SocketAddr, options: &TlsOptions) -> io::Result<TlsClient> {
        let socket = TcpStream::connect_timeout(&addr, Duration::from_secs(5))?;
        TlsClient::try_over(socket, options)
    }

    /// Shakes hands over a connection.
    pub fn try_over(socket: TcpStream, options: &TlsOptions) -> io::Result<TlsClient> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_file_iter(&options.ca).expect("a CA") {
            roots.add(certificate.expect("PEM")).expect("a root");
        }
        let versions = match options.is_tls12 {
            true => &[&version::TLS12],
            false => &[&version::TLS13],
        };
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .expect("known versions")
            .with_root_certificates(roots);
        let config = match &options.certificate {
            None => builder.with_no_client_auth(),
            Some(pair) => {
                let chain = CertificateDer::pem_file_iter(&pair.certificate).expect("a file");
                let chain = chain.collect::<Result<Vec<_>, _>>().expect("PEM");
                let key = PrivateKeyDer::from_pem_file(&pair.key).expect("a key");
                builder.with_client_auth_cert(chain, key).expect("a pair")
            }
        };
        let name = ServerName::try_from("localhost").expect("a name");
        let connection = ClientConnection::new(Arc::new(config), name).expect("a connection");
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(Duration::from_secs(30)))?;
        let mut stream = StreamOwned::new(connection, socket);
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock)?;
        }
        Ok(TlsClient {
            stream,
            unread: Vec::new(),
        })
    }

    /// The certificate that the other side showed.
    pub fn shown(&self) -> Vec<u8> {
        let shown = self.stream.conn.peer_certificates().expect("it showed one");
        shown[0].to_vec()
    }

    pub fn socket(&self) -> &TcpStream {
        &self.stream.sock
    }

    pub fn stream(&mut self) -> &mut StreamOwned<ClientConnection, TcpStream> {
        &mut self.stream
    }

    /// Sends a command and reads its reply.
    #[track_caller]
    pub fn call(&mut self, command: &str) -> Value {
        self.try_call(command)
            .unwrap_or_else(|error| panic!("{command}: {error}"))
    }

    /// As [`TlsClient::call`], for connections that may be lost.
    pub fn try_call(&mut self, command: &str) -> io::Result<Value> {
        self.stream.write_all(&encode(&words(command)))?;
        self.stream.flush()?;
        self.try_read()
    }

    /// Reads the next reply.
    pub fn try_read(&mut self) -> io::Result<Value> {
        loop {
            if let Some((value, len)) = Value::parse(&self.unread)? {
                self.unread.drain(..len);
                return Ok(value);
            }
            let mut piece = [0; 64 << 10];
            match self.stream.read(&mut piece)? {
                0 => return Err(ErrorKind::UnexpectedEof.into()),
                count => self.unread.extend_from_slice(&piece[..count]),
            }
        }
    }

    /// Sends the command and expects this reply, in the notation of [`Value`].
    #[track_caller]
    pub fn expect(&mut self, command: &str, reply: &str) {
        assert_eq!(
            self.call(command).to_string(),
            reply,
            "\nreply to: {command}"
        );
    }
}
