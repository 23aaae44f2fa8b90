//! The files under `docker/` fit each other and the crate, as far as can be told without a
//! container engine. With the `docker compose` plugin here, it reads the compose file as well.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use yaml_rust2::{Yaml, YamlLoader};

/// Environment variables the container files may set: the short names that always work.
const ENVIRONMENT: &[&str] = &[
    "KEYWAY_SEEDS",
    "KEYWAY_LISTEN",
    "KEYWAY_ADMIN",
    "KEYWAY_WORKERS",
    "KEYWAY_PASSWORD",
    "KEYWAY_UPSTREAM_USERNAME",
    "KEYWAY_UPSTREAM_PASSWORD",
];

/// The user of the image, and its group.
const USER: &str = "65532:65532";

#[test]
fn dockerfile_builds_what_the_crate_is() {
    let steps = dockerfile();
    let all = |name: &str| -> Vec<&str> {
        let matching = steps.iter().filter(|(step, _)| step == name);
        matching.map(|(_, rest)| rest.as_str()).collect()
    };
    let stages = all("FROM");
    assert_eq!(stages.len(), 2, "a builder and a small final image");
    let version = env!("CARGO_PKG_RUST_VERSION");
    assert!(
        stages[0].starts_with(&format!("rust:{version}-")) && stages[0].ends_with(" AS build"),
        "the builder has the crate's Rust, {version}: {}",
        stages[0]
    );
    // One Debian for both: the program is linked to the builder's C library.
    assert!(stages[0].contains("bookworm") && stages[1].contains("debian12"));

    let run = all("RUN").join("\n");
    assert!(run.contains("cargo build --release --locked --bin keyway"));
    assert!(run.contains("cp target/release/keyway /keyway"));

    for copy in all("COPY") {
        let mut words = copy.split_whitespace().peekable();
        if let Some(from) = words.next_if(|word| word.starts_with("--from=")) {
            assert_eq!(from, "--from=build", "{copy}");
            assert_eq!(words.next(), Some("/keyway"), "{copy}");
            continue;
        }
        let words: Vec<_> = words.collect();
        for source in &words[..words.len() - 1] {
            assert!(root().join(source).exists(), "COPY {source}");
            assert!(reaches_the_builder(source), "COPY {source} is ignored");
        }
    }
    for needed in ["Cargo.toml", "Cargo.lock", "src"] {
        assert!(reaches_the_builder(needed), "{needed} is ignored");
    }

    // A number: of a name the kubelet cannot tell that it is not root (runAsNonRoot), and starts nothing.
    assert_eq!(all("USER"), [USER]);
    assert_eq!(all("STOPSIGNAL"), ["SIGTERM"]);
    assert_eq!(all("ENTRYPOINT"), [r#"["/usr/local/bin/keyway"]"#]);
    let health = all("HEALTHCHECK").join(" ");
    assert!(health.ends_with(r#"CMD ["/usr/local/bin/keyway", "--health"]"#));
    for setting in all("ENV").join(" ").split_whitespace() {
        assert_known_variable(setting.split('=').next().unwrap_or_default());
    }
}

#[test]
fn compose_hides_the_cluster_and_shows_keyway() {
    let compose = &yaml("docker/compose.yaml")[0];
    let services = compose["services"].as_hash().expect("there are services");
    let name_of = |key: &Yaml| key.as_str().expect("names are strings").to_owned();
    let names: Vec<_> = services.keys().map(name_of).collect();
    assert_eq!(
        compose["networks"]["cluster"]["internal"],
        Yaml::Boolean(true)
    );

    let nodes: Vec<_> = names
        .iter()
        .filter(|name| name.starts_with("node-"))
        .collect();
    assert_eq!(nodes.len(), 6);
    let create = compose["services"]["create"]["command"][2]
        .as_str()
        .expect("create has a script");
    assert_shell_reads(create);
    for node in nodes {
        let service = &compose["services"][node.as_str()];
        assert!(service["ports"].is_badvalue(), "{node} publishes a port");
        let networks = service["networks"].as_hash().expect("a map of networks");
        assert_eq!(networks.len(), 1, "{node} is on the internal network only");
        let addr = service["networks"]["cluster"]["ipv4_address"].as_str();
        let addr = addr.expect("an address on the internal network");
        assert!(create.contains(&format!("{addr}:6379")), "{node}");
    }

    let keyway = &compose["services"]["keyway"];
    assert_eq!(list(&keyway["ports"]), ["127.0.0.1:6379:6379"]);
    assert_eq!(list(&keyway["networks"]), ["cluster", "outside"]);
    let context = keyway["build"]["context"].as_str().expect("a context");
    let dockerfile = keyway["build"]["dockerfile"].as_str().expect("a file");
    assert!(
        root()
            .join("docker")
            .join(context)
            .join(dockerfile)
            .exists()
    );
    for variable in keyway["environment"].as_hash().expect("a map").keys() {
        assert_known_variable(variable.as_str().unwrap_or_default());
    }

    for name in &names {
        let service = &compose["services"][name.as_str()];
        let depends_on = match &service["depends_on"] {
            Yaml::Hash(map) => map.keys().map(name_of).collect(),
            other => list(other),
        };
        for other in depends_on {
            assert!(names.contains(&other), "{name} depends on {other}");
        }
        for volume in list(&service["volumes"]) {
            let source = volume.split(':').next().unwrap_or_default();
            assert!(root().join("docker").join(source).exists(), "{volume}");
        }
    }
}

#[test]
fn prometheus_scrapes_the_admin_port() {
    let prometheus = &yaml("docker/prometheus.yml")[0];
    let job = &prometheus["scrape_configs"][0];
    assert_eq!(job["metrics_path"].as_str(), Some("/metrics"));
    let targets = list(&job["static_configs"][0]["targets"]);
    assert_eq!(
        targets,
        ["keyway:9121"],
        "a service of compose.yaml, the admin port"
    );
}

#[test]
fn kubernetes_runs_keyway_as_a_sidecar() {
    let documents = yaml("docker/kubernetes.yaml");
    let kind = |document: &&Yaml| document["kind"].as_str() == Some("Deployment");
    let deployment = documents.iter().find(kind).expect("a Deployment");
    let pod = &deployment["spec"]["template"]["spec"];
    let keyway = &pod["initContainers"][0];
    assert_eq!(keyway["name"].as_str(), Some("keyway"));
    assert_eq!(
        keyway["restartPolicy"].as_str(),
        Some("Always"),
        "what makes it a sidecar"
    );
    for (probe, path) in [
        ("startupProbe", "/live"),
        ("livenessProbe", "/live"),
        ("readinessProbe", "/ready"),
    ] {
        let get = &keyway[probe]["httpGet"];
        assert_eq!(get["path"].as_str(), Some(path), "{probe}");
        assert_eq!(get["port"].as_str(), Some("admin"), "{probe}");
    }
    assert_eq!(keyway["ports"][0]["name"].as_str(), Some("admin"));
    assert_eq!(keyway["ports"][0]["containerPort"].as_i64(), Some(9121));
    for variable in keyway["env"].as_vec().expect("a list") {
        assert_known_variable(variable["name"].as_str().unwrap_or_default());
    }
    let mount = &keyway["volumeMounts"][0];
    assert_eq!(mount["name"], pod["volumes"][0]["name"]);
    let secret = pod["volumes"][0]["secret"]["secretName"].as_str();
    assert_eq!(documents[0]["metadata"]["name"].as_str(), secret);
    let security = &keyway["securityContext"];
    assert_eq!(security["runAsNonRoot"], Yaml::Boolean(true));
    let number = |key: &str| security[key].as_i64().expect("a number");
    let user = format!("{}:{}", number("runAsUser"), number("runAsGroup"));
    assert_eq!(user, USER, "the Dockerfile's");
    assert_eq!(security["readOnlyRootFilesystem"], Yaml::Boolean(true));
    let limit = keyway["resources"]["limits"]["memory"].as_str();
    assert!(limit.is_some(), "memory is limited");
}

#[test]
fn compose_plugin_reads_the_compose_file() {
    let compose = |arguments: &[&str]| {
        let mut docker = Command::new("docker");
        docker.arg("compose").args(arguments);
        docker.current_dir(root()).output()
    };
    if !compose(&["version"]).is_ok_and(|output| output.status.success()) {
        println!("no docker compose here: not checked");
        return;
    }
    let output = compose(&["-f", "docker/compose.yaml", "config", "--quiet"]);
    let output = output.expect("it ran a moment ago");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: impl AsRef<Path>) -> String {
    let path = path.as_ref();
    fs::read_to_string(root().join(path))
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn yaml(path: &str) -> Vec<Yaml> {
    let documents = YamlLoader::load_from_str(&read(path));
    documents.unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn list(value: &Yaml) -> Vec<String> {
    let items = value.as_vec().into_iter().flatten();
    items.filter_map(Yaml::as_str).map(str::to_owned).collect()
}

/// The instructions, continued lines joined: name and rest.
fn dockerfile() -> Vec<(String, String)> {
    let text = read("docker/Dockerfile");
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let joined = lines.collect::<Vec<_>>().join("\n").replace("\\\n", " ");
    let instructions = joined.lines().filter_map(|line| line.split_once(' '));
    instructions
        .map(|(name, rest)| {
            let words: Vec<_> = rest.split_whitespace().collect();
            (name.to_owned(), words.join(" "))
        })
        .collect()
}

/// Whether `Dockerfile.dockerignore`, which ignores all but what it names, lets a path through.
fn reaches_the_builder(path: &str) -> bool {
    let rules = read("docker/Dockerfile.dockerignore");
    path == "."
        || rules
            .lines()
            .any(|rule| rule.strip_prefix('!') == Some(path))
}

fn assert_known_variable(name: &str) {
    let bare = name.strip_suffix("_FILE").unwrap_or(name);
    assert!(ENVIRONMENT.contains(&bare), "unknown variable {name}");
}

fn assert_shell_reads(script: &str) {
    let status = Command::new("sh").args(["-n", "-c", script]).status();
    assert!(status.is_ok_and(|status| status.success()), "{script}");
}
