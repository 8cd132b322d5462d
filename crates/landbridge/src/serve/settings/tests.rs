use clap::Parser;

use super::*;

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    options: Options,
}

fn settings(file: &str, line: &[&str]) -> anyhow::Result<Settings> {
    let line = Line::try_parse_from([&["serve"], line].concat())?;
    Settings::merge(toml::from_str(file)?, &line.options)
}

fn window(settings: &Settings, gpu: usize) -> Option<u64> {
    match settings.gpus[gpu].mode {
        Mode::HostVisible { window } => Some(window),
        Mode::GuestImport => None,
    }
}

#[test]
fn the_command_line_wins_over_the_file() {
    let file = "window = '512MiB'\ncontrol = 'file.sock'\ngpu = ['file-gpu.sock']";
    let from_file = settings(file, &[]).unwrap();
    assert_eq!(window(&from_file, 0), Some(512 << 20));
    assert_eq!(from_file.control, Some("file.sock".into()));
    let line = [
        "--window",
        "1GiB",
        "--control",
        "line.sock",
        "--gpu",
        "a",
        "--gpu",
        "b",
    ];
    let both = settings(file, &line).unwrap();
    assert_eq!(both.gpus.len(), 2);
    assert_eq!(window(&both, 1), Some(1 << 30));
    assert_eq!(both.control, Some("line.sock".into()));
}

#[test]
fn a_gpu_of_the_file_has_keys_of_its_own() {
    let file = "
        outputs = ['640x480']
        [[gpu]]
        socket = 'a'
        [[gpu]]
        socket = 'b'
        guest = 'vm'
        gpu-mode = 'guest-import'
        outputs = ['800x600', '1024x768']
    ";
    let settings = settings(file, &[]).unwrap();
    assert_eq!(settings.gpus[0].outputs.len(), 1);
    assert_eq!(window(&settings, 0), Some(DEFAULT_WINDOW.0));
    assert_eq!(settings.gpus[1].guest.as_deref(), Some("vm"));
    assert_eq!(settings.gpus[1].outputs.len(), 2);
    assert_eq!(window(&settings, 1), None);
}

#[test]
fn a_window_that_kills_a_vmm_is_refused() {
    for size in ["0", "3MiB", "300MiB", "4K", "2T"] {
        let error = settings("", &["--gpu", "a", "--window", size]).unwrap_err();
        assert!(format!("{error:#}").contains("window"), "{error:#}");
    }
    assert!(settings("", &["--gpu", "a", "--window", "1MiB"]).is_ok());
}

#[test]
fn what_the_device_refuses_is_refused_early() {
    let outputs = vec!["640x480"; 17].join(",");
    assert!(settings("", &["--gpu", "a", "--outputs", &outputs]).is_err());
    assert!(settings("[[gpu]]\nguest = 'vm'", &[]).is_err(), "no socket");
}

#[test]
fn no_path_serves_two_purposes() {
    assert!(settings("", &["--gpu", "a", "--gpu", "a"]).is_err());
    assert!(settings("", &["--gpu", "a", "--control", "a"]).is_err());
}

#[test]
fn limits_come_from_the_file_and_stay_below_what_kills_a_vmm() {
    let limits = settings("[limits]\npinned-memory = '64MiB'", &[])
        .unwrap()
        .limits;
    assert_eq!(limits.pinned_bytes, 64 << 20);
    assert_eq!(limits.buffers, Limits::default().buffers);
    assert!(settings("[limits]\nwindow-maps = 511", &[]).is_err());
}

#[test]
fn the_example_of_the_manual_is_a_configuration() {
    let manual = include_str!("../../../../../docs/serve.md");
    let (_, rest) = manual.split_once("```toml\n").unwrap();
    let (example, _) = rest.split_once("```").unwrap();
    let settings = settings(example, &[]).unwrap();
    assert_eq!(settings.gpus.len(), 2);
    assert_eq!(window(&settings, 0), Some(DEFAULT_WINDOW.0));
    assert_eq!(settings.gpus[1].mode, Mode::GuestImport);
    assert_eq!(settings.limits, Limits::default(), "it shows the defaults");
}

#[test]
fn a_node_that_is_not_there_is_refused_before_a_socket_is_made() {
    let of = |node| settings(&format!("host-node = {node}\ngpu = ['a.sock']"), &[]);
    let error = format!("{:#}", of("4095").unwrap_err());
    assert!(error.contains("host-node = 4095: "), "{error}");
    of("'first'").unwrap_err();
    let refused = of("0\nhost-memory = 'system-heap'");
    refused.unwrap_err();
    match of("0") {
        Ok(settings) => assert_eq!(settings.gpus[0].host_node, Some(0)),
        Err(error) => eprintln!("skipped: {error:#}"),
    }
    let line = settings("gpu = ['a.sock']", &["--host-node", "4095"]);
    line.unwrap_err();
}
