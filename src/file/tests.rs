// SPDX-License-Identifier: Apache-2.0
//! Options and load-balancers in one file, and where its mistakes are.

use clap::CommandFactory;
use proptest::prelude::*;

use super::*;
use crate::args::CommandLine;

fn file(text: &str) -> File {
    File { path: "slb.toml".into(), text: text.to_owned(), is_regular: true }
}

const BOTH: &str = "\
adapter = \"eth0\"

[[loadbalancer]]
name = \"web\"
port = 80

[[loadbalancer.backend]]
ip = \"10.0.0.11\"

[[loadbalancer]]
name = \"dns\"
port = 53
healthCheck = { type = \"tcp\",
  interval = \"2s\" }
";

#[test]
fn options_and_load_balancers_share_a_file() {
    let both = file(BOTH);
    assert_eq!(both.options().unwrap().adapter.as_deref(), Some("eth0"));
    let names = both.load_balancers(false).unwrap().into_iter().map(|each| each.load_balancer.name.to_string());
    assert_eq!(names.collect::<Vec<_>>(), ["web", "dns"]);
    assert_eq!(file("").load_balancers(false).unwrap().len(), 0);
    assert_eq!(both.blame(Some("loadbalancer/1"), "taken").to_string(), "slb.toml:10: loadbalancer/1: taken");
    assert_eq!(both.blame(None, "no disk").to_string(), "slb.toml: no disk");
}

/// The file of the packages: as it stands it makes no setting, and it has each, with its default if there is a certain one.
#[test]
fn the_installed_file_has_every_option() {
    let text = include_str!("../../deploy/slb.toml");
    assert_eq!(file(text).options().unwrap(), Given::default());
    let setting = |line: &'static str| line.strip_prefix('#').filter(|rest| !rest.starts_with(' ')).unwrap_or(line);
    let made = text.lines().map(setting).collect::<Vec<_>>().join("\n");
    file(&made).options().unwrap();
    assert_eq!(file(&made).load_balancers(false).unwrap().len(), 1);
    let made: toml::Table = made.parse().unwrap();
    let server = CommandLine::command().find_subcommand("server").unwrap().clone();
    for option in server.get_arguments().filter(|option| option.get_id() != "config") {
        let name = option.get_long().unwrap();
        let shown = made.get(name).unwrap_or_else(|| panic!("{name} is missing")).to_string();
        let help = option.get_help().unwrap().to_string();
        let default = help.split_once("[default: ").map_or("", |(_, default)| default.trim_end_matches(']'));
        if !default.is_empty() && !default.contains(' ') {
            assert_eq!(shown.trim_matches('"'), default, "{name}");
        }
    }
}

#[test]
fn where_the_state_is_can_be_told_despite_mistakes() {
    let kept = |text: &str| file(text).state_dir().map_err(|bad| bad.to_string());
    let here = Ok(Some(PathBuf::from("/data/slb")));
    for mistake in ["", "adaptor = 1", "port = \"x\"", "[loadbalancer]", "[[loadbalancer]]\nport = 0"] {
        assert_eq!(kept(&format!("stateDir = \"/data/slb\"\n{mistake}")), here, "{mistake}");
    }
    assert_eq!(kept(BOTH), Ok(None));
    for (text, expected) in [("port =\nstateDir = \"/\"", "slb.toml:1: "), ("port = 1\nstateDir = 7", "slb.toml:2: ")] {
        let said = kept(text).unwrap_err();
        assert!(said.starts_with(expected), "{said}");
    }
}

/// Compilers say it in this way, and editors understand it.
#[test]
fn a_mistake_is_told_with_its_line() {
    for (from, to, expected) in [
        ("80", "\"x\"", "slb.toml:5: loadbalancer/0/port: must be a number"),
        (
            "ip = ",
            "pi = ",
            "slb.toml:7: loadbalancer/0/backend/0/ip: is missing; line 8: loadbalancer/0/backend/0/pi: ",
        ),
        ("\"2s\"", "\"2 parsecs\"", "slb.toml:14: loadbalancer/1/healthCheck/interval: "),
        ("name = \"dns\"", "name = \"web\"", "slb.toml:11: loadbalancer/1/name: \"web\" is the name of another one"),
        ("port = 53", "port = ", "slb.toml:12: "),
        ("[[loadbalancer]]\nname = \"web\"", "[loadbalancer]\nname = \"web\"", "slb.toml:10: "),
    ] {
        let said = file(&BOTH.replacen(from, to, 1)).load_balancers(false).unwrap_err().to_string();
        assert!(said.starts_with(expected) && !said.contains('\n'), "{to}: {said}");
    }
    let said = file(&BOTH.replacen("adapter", "adaptor", 1)).options().unwrap_err().to_string();
    assert!(said.starts_with("slb.toml:1: unknown field `adaptor`"), "{said}");
    assert!(
        File::read(Path::new("/nonexistent/slb.toml")).unwrap_err().to_string().starts_with("/nonexistent/slb.toml: ")
    );
}

/// The thread that reads it again must not wait for somebody who writes, nor hold whatever somebody has written.
#[test]
fn what_is_no_file_is_read_once_and_nothing_is_too_large() {
    let folder = std::env::temp_dir().join(format!("slb-read-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let (pipe, large) = (folder.join("pipe"), folder.join("large"));
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    let writer = std::thread::spawn({
        let pipe = pipe.clone();
        move || fs::write(pipe, BOTH)
    });
    let read = File::read(&pipe).unwrap();
    writer.join().unwrap().unwrap();
    assert!(!read.is_regular && read.text == BOTH);
    assert!(File::read_again(&pipe).unwrap_err().to_string().ends_with("not a regular file any more"));
    let made = fs::File::create(&large).unwrap();
    made.set_len(MOST_BYTES as u64).unwrap();
    assert!(File::read_again(&large).is_ok_and(|read| read.is_regular));
    made.set_len(MOST_BYTES as u64 + 1).unwrap();
    assert!(File::read_again(&large).unwrap_err().to_string().ends_with("more than 16 MiB"));
    fs::remove_dir_all(&folder).unwrap();
}

/// Near what is right, so that some of it is.
const ANY: &str = "((\\[\\[loadbalancer\\]\\]|\\[\\[loadbalancer\\.backend\\]\\]|\\[loadbalancer\\.healthCheck\\]|\\[frontend\\]|\\[\\[frontend\\.backend\\]\\]|\
                   (name|type|eip|ip|bind_on|forward_to|family|path) = \"(web|tcp|http|dual|/up|10\\.0\\.0\\.[1-9](:80)?|[a-z0-9./:]{0,8})\"|\
                   (port|weight|fall) = -?[0-9]{1,6}|ports = \\[\"80\", 443\\]|adapter = \"eth0\"|[a-zA-Z0-9\\[\\]=\"'. #-]{0,9})\n){0,9}";

proptest! {
    /// Whatever is in the file, reading it does not panic; and what is wrong is in the file, and one line of the log.
    #[test]
    fn any_file_is_read_or_refused(text in ANY) {
        let file = file(&text);
        for bad in [file.options().map(drop), file.load_balancers(false).map(drop)].into_iter().filter_map(Result::err) {
            prop_assert!(bad.line().is_none_or(|line| (1..=text.lines().count() + 1).contains(&line)), "{bad}");
            prop_assert!(!bad.to_string().contains('\n'), "{bad:?}");
        }
    }
}
