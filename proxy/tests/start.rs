// SPDX-License-Identifier: Apache-2.0
//! Where there is too little to start with. In a process of its own, since the limit holds for all of it.

use std::num::NonZeroUsize;

use rustix::process::{Resource, Rlimit, setrlimit};
use slb_proxy::{Options, Proxy};

/// Each worker takes files: the first ones are there, and have to end again.
#[test]
fn too_few_files_for_all_workers_is_an_error() {
    let few = Some(32);
    setrlimit(Resource::Nofile, Rlimit { current: few, maximum: few }).unwrap();
    let workers = NonZeroUsize::new(100).unwrap();
    let error = Proxy::start(Options { workers, ..Options::default() }).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(rustix::io::Errno::MFILE.raw_os_error()), "{error}");
}
