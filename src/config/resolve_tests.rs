//! Tests of resolving the configuration.

use super::*;
use crate::config::ReadPolicy;

/// The errors of this file and environment, one line each.
fn errors(file: &str, variables: &[(&str, &str)]) -> String {
    resolve_text(Some(("proxy.toml", file)), &Environment::of(variables))
        .err()
        .map(|errors| errors.to_string())
        .unwrap_or_default()
}

fn settings(file: &str, variables: &[(&str, &str)]) -> Settings {
    resolve_text(Some(("proxy.toml", file)), &Environment::of(variables))
        .map(|effective| effective.settings)
        .unwrap_or_else(|errors| panic!("refused: {errors}"))
}

const SEEDS: &str = "[cluster]\nseeds = [\"a:1\"]\n";

#[test]
fn the_environment_alone_is_enough() {
    let environment = Environment::of(&[("KEYWAY_SEEDS", "a:1,[::1]:2"), ("HOME", "/")]);
    let settings = resolve(None, &environment)
        .expect("seeds are given")
        .settings;
    assert_eq!(settings.cluster.seeds.len(), 2);
    assert_eq!(settings.cluster.seeds[1].to_string(), "[::1]:2");
    assert!(settings.workers >= 1);
    assert_eq!(
        settings.listen.address.map(|address| address.to_string()),
        Some("127.0.0.1:6379".to_owned())
    );
}

#[test]
fn the_environment_wins_over_the_file_and_the_file_over_defaults() {
    let file = format!("{SEEDS}[timeouts]\nrequest = \"5s\"\ndrain = \"1s\"\n");
    let settings = settings(&file, &[("KEYWAY_TIMEOUTS_REQUEST", "7s")]);
    assert_eq!(settings.timeouts.request.as_secs(), 7);
    assert_eq!(settings.timeouts.drain.as_secs(), 1);
    assert_eq!(settings.timeouts.handshake.as_secs(), 2);
}

#[test]
fn short_names_set_their_keys() {
    let settings = settings(
        "",
        &[
            ("KEYWAY_SEEDS", "a:1"),
            ("KEYWAY_LISTEN", "0.0.0.0:7"),
            ("KEYWAY_ADMIN", ""),
            ("KEYWAY_WORKERS", "3"),
            ("KEYWAY_PASSWORD", "client"),
            ("KEYWAY_UPSTREAM_USERNAME", "app"),
            ("KEYWAY_UPSTREAM_PASSWORD", "server"),
        ],
    );
    assert_eq!(settings.workers, 3);
    assert_eq!(settings.admin.address, None);
    assert_eq!(settings.listen.address.map(|a| a.port()), Some(7));
    assert!(
        settings
            .listen
            .password
            .is_some_and(|p| p.matches(b"client"))
    );
    assert_eq!(settings.upstream.username.as_deref(), Some("app"));
    assert!(
        settings
            .upstream
            .password
            .is_some_and(|p| p.matches(b"server"))
    );
}

#[test]
fn every_mistake_is_told_with_key_value_and_what_is_allowed() {
    for (file, variables, expected) in [
        (
            "",
            &[][..],
            "cluster.seeds is required: set it in the file or as KEYWAY_SEEDS; allowed is a list (in the environment comma-separated) of host:port such as \"redis-0.redis:6379\" or \"[2001:db8::1]:6379\"",
        ),
        (
            "[cluster]\nseeds = [\"a:1\"]\n[timeouts]\nrequest = 20\n",
            &[],
            "proxy.toml line 4: timeouts.request = 20: allowed is a duration with its unit such as \"500ms\", \"20s\" or \"5m\", from 10ms to 1h",
        ),
        (
            SEEDS,
            &[("KEYWAY_WORKERS", "many")],
            "KEYWAY_WORKERS: proxy.workers = \"many\": allowed is \"auto\" or a whole number from 1 to 1024",
        ),
        (
            SEEDS,
            &[("KEYWAY_LISTEN_ADRESS", "x")],
            "environment: unknown name `KEYWAY_LISTEN_ADRESS`, did you mean `KEYWAY_LISTEN_ADDRESS`?",
        ),
        (
            "[cluster]\nseeds = [\"a:1\"]\nrefresh_intervall = \"1s\"\n",
            &[],
            "proxy.toml line 3: unknown key `refresh_intervall`, did you mean `refresh_interval`?",
        ),
        (
            "[cluster]\nseeds = [\"a:1\"]\nmax_clients = 5\n",
            &[],
            "proxy.toml line 3: unknown key `max_clients`, did you mean `limits.max_clients`?",
        ),
        (
            "seeds = [\"a:1\"]\n[cluster]\nseeds = [\"a:1\"]\n",
            &[],
            "proxy.toml line 1: unknown section `seeds`, did you mean `cluster.seeds`?",
        ),
        (
            "[cluster]\nseeds = [\"a:1\"]\n[listen]\npassword = \"\"\n",
            &[],
            "proxy.toml line 4: listen.password = ***: allowed is text that is not empty; leave the key out for no password",
        ),
        (
            SEEDS,
            &[
                ("KEYWAY_LISTEN", "1.1.1.1:1"),
                ("KEYWAY_LISTEN_ADDRESS", "1.1.1.1:2"),
            ],
            "KEYWAY_LISTEN and KEYWAY_LISTEN_ADDRESS both set listen.address: keep one",
        ),
        (
            SEEDS,
            &[("KEYWAY_LISTEN", "")],
            "listen.address and listen.unix_socket are both empty: no client could connect",
        ),
        (
            SEEDS,
            &[("KEYWAY_UPSTREAM_USERNAME", "app")],
            "upstream.username needs upstream.password: AUTH sends both",
        ),
        (
            "[cluster]\nseeds = [\"${NODE}:1\"]\n",
            &[],
            "proxy.toml line 2: cluster.seeds: the environment has no variable `NODE` for `${NODE}`",
        ),
    ] {
        assert_eq!(errors(file, variables), expected);
    }
}

#[test]
fn all_mistakes_are_told_at_once() {
    let told = errors(
        "[proxy]\nworkers = 0\n[log]\nlevel = \"loud\"\n",
        &[("KEYWAY_SEEDS", "nowhere")],
    );
    assert_eq!(told.lines().count(), 3, "{told}");
}

#[test]
fn broken_toml_is_told_with_its_line() {
    let told = errors("[cluster]\nseeds = [\n", &[]);
    assert!(told.starts_with("proxy.toml line "), "{told}");
    assert!(told.contains("not valid TOML"), "{told}");
}

#[test]
fn placeholders_take_the_environments_values() {
    let file = "[cluster]\nseeds = [\"${A}:1\", \"b.${A}:2\"]\n[listen]\npassword = \"x$${A}\"\n[limits]\nmax_clients = \"${N}\"\n";
    let settings = settings(file, &[("A", "host"), ("N", "77")]);
    assert_eq!(settings.cluster.seeds[0].to_string(), "host:1");
    assert_eq!(settings.cluster.seeds[1].to_string(), "b.host:2");
    assert_eq!(settings.limits.max_clients, 77);
    assert!(
        settings
            .listen
            .password
            .is_some_and(|p| p.matches(b"x${A}"))
    );
}

#[test]
fn the_address_map_is_written_in_three_ways() {
    let pair = |from: &str, to: &str| (from.to_owned(), to.to_owned());
    let expected = vec![pair("b:1", "h:1"), pair("10.0.0.0/24", "10.1.0.0/24")];
    let array = format!(
        "{SEEDS}[[cluster.address_map]]\nfrom = \"b:1\"\nto = \"h:1\"\n[[cluster.address_map]]\nfrom = \"10.0.0.0/24\"\nto = \"10.1.0.0/24\"\n"
    );
    assert_eq!(settings(&array, &[]).cluster.address_map, expected);
    let variable = [(
        "KEYWAY_CLUSTER_ADDRESS_MAP",
        "b:1=h:1,10.0.0.0/24=10.1.0.0/24",
    )];
    assert_eq!(settings(SEEDS, &variable).cluster.address_map, expected);
    let table = format!("{SEEDS}address_map = {{ \"b:1\" = \"h:1\" }}\n");
    assert_eq!(
        settings(&table, &[]).cluster.address_map,
        [pair("b:1", "h:1")]
    );
}

#[test]
fn secrets_come_from_files_too() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("secret");
    std::fs::write(&path, "from file\n").expect("the folder is ours");
    let path = path.to_str().expect("UTF-8");
    let by_key = format!("{SEEDS}[upstream]\npassword_file = \"{path}\"\n");
    for settings in [
        settings(&by_key, &[]),
        settings(SEEDS, &[("KEYWAY_UPSTREAM_PASSWORD_FILE", path)]),
    ] {
        let password = settings.upstream.password.expect("given");
        assert!(password.matches(b"from file"));
    }
    let both = format!("{by_key}password = \"x\"\n");
    assert!(errors(&both, &[]).contains("both set upstream.password"));
}

#[test]
fn every_default_is_allowed() {
    let settings = settings(SEEDS, &[]);
    assert_eq!(settings.limits.max_clients, 10_000);
    assert_eq!(settings.limits.argument_bytes, 512 << 20);
    assert_eq!(settings.listen.unix_socket_mode, 0o700);
    assert!(settings.listen.password.is_none());
}

#[test]
fn debug_output_hides_secrets() {
    let effective = resolve_text(
        Some(("proxy.toml", SEEDS)),
        &Environment::of(&[("KEYWAY_PASSWORD", "hunter2")]),
    )
    .expect("allowed");
    assert!(!format!("{effective:?}").contains("hunter2"));
}

#[test]
fn listeners_inherit_what_they_do_not_give() {
    let file = format!(
        "{SEEDS}[listen]\npassword = \"one\"\nbacklog = 7\n[[listeners]]\nname = \"reads\"\naddress = \"127.0.0.1:6380\"\npassword = \"two\"\nread_policy = \"any\"\n[[listeners]]\nunix_socket = \"/tmp/x\"\n"
    );
    let settings = settings(&file, &[("KEYWAY_LISTENERS_1_READ_YOUR_WRITES", "1s")]);
    let [reads, socket] = &settings.listeners[..] else {
        panic!("two are given");
    };
    assert_eq!((reads.name.as_str(), reads.backlog), ("reads", 7));
    assert_eq!(reads.address.map(|address| address.port()), Some(6380));
    assert_eq!(reads.read_policy, ReadPolicy::Any);
    assert_eq!(reads.read_your_writes.as_secs(), 1);
    let matches = |secret: &Option<crate::config::Secret>, text: &str| {
        let secret = secret.as_ref();
        secret.is_some_and(|secret| secret.matches(text.as_bytes()))
    };
    assert!(matches(&settings.listen.password, "one"));
    assert!(matches(&reads.password, "two"));
    assert!(matches(&socket.password, "one"));
    assert_eq!(socket.address, None);
    assert_eq!(socket.name, "listener-2");
    assert_eq!(settings.all_listeners().count(), 3);
}

#[test]
fn keyway_is_not_a_seed_of_its_own() {
    let with = |seeds: &str, listen: &str| {
        format!("[cluster]\nseeds = [\"{seeds}\"]\n[listen]\naddress = \"{listen}\"\n")
    };
    for (seed, listen) in [
        ("127.0.0.1:6379", "127.0.0.1:6379"),
        ("localhost:6379", "127.0.0.1:6379"),
        ("127.0.0.1:7000", "0.0.0.0:7000"),
        ("[::1]:7000", "[::]:7000"),
    ] {
        let found = errors(&with(seed, listen), &[]);
        let expected = format!(
            "cluster.seeds: {seed} is the address of listener \"main\": name a node of the cluster, or let Keyway listen elsewhere"
        );
        assert_eq!(found, expected, "{seed} {listen}");
    }
    for (seed, listen) in [
        ("127.0.0.1:6379", "127.0.0.1:6380"),
        ("10.0.0.1:6379", "0.0.0.0:6379"),
        ("127.0.0.1:6379", "10.0.0.1:6379"),
        ("redis:6379", "0.0.0.0:6379"),
    ] {
        settings(&with(seed, listen), &[]);
    }
}

#[test]
fn mistakes_in_listeners_name_them() {
    for (file, variables, expected) in [
        (
            "[[listeners]]\naddress = \"127.0.0.1:1\"\nread_policy = \"all\"\n",
            &[][..],
            "proxy.toml line 5: listeners[1].read_policy = \"all\": allowed is one of \"primary\", \"prefer-replica\", \"any\", \"lowest-latency\", \"same-zone\"",
        ),
        (
            "[[listeners]]\nadress = \"127.0.0.1:1\"\n",
            &[],
            "proxy.toml line 4: unknown key `adress`, did you mean `address`?",
        ),
        (
            "[[listeners]]\nname = \"x\"\n",
            &[],
            "listeners[1].address and listeners[1].unix_socket are both empty: no client could connect",
        ),
        (
            "[[listeners]]\naddress = \"127.0.0.1:6379\"\n",
            &[],
            "listeners[1].address is that of listener \"main\" as well: each needs its own",
        ),
        (
            "[listeners]\naddress = \"127.0.0.1:6379\"\n",
            &[],
            "proxy.toml line 3: listeners = [listeners]: allowed is an array of tables, [[listeners]], each with keys of [listen]",
        ),
        (
            "",
            &[("KEYWAY_LISTENERS_1_ADRESS", "x")],
            "environment: unknown name `KEYWAY_LISTENERS_1_ADRESS`, did you mean `KEYWAY_LISTEN_ADDRESS`?",
        ),
        (
            "",
            &[("KEYWAY_LISTENERS_1_ADDRESS", "x")],
            "KEYWAY_LISTENERS_1_ADDRESS: listeners[1].address = \"x\": allowed is an IP address and a port such as \"127.0.0.1:6379\" or \"[::]:6379\", or \"\" for none",
        ),
        (
            "[listen]\nread_policy = \"same-zone\"\n",
            &[],
            "read_policy = \"same-zone\" needs cluster.zone (KEYWAY_ZONE): without it no node is in the same zone",
        ),
    ] {
        assert_eq!(errors(&format!("{SEEDS}{file}"), variables), expected);
    }
}
