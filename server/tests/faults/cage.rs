//! What the process of a server may not do, put on before it becomes the server.

use crate::clocks;
use std::process::Command;

/// The limits of a process.
#[derive(Clone, Copy, Default)]
pub enum Cage {
    /// None but those of the test.
    #[default]
    Open,
    /// A line that the shell runs before it becomes the server: `ulimit -n 120`.
    Shell(&'static str),
    /// This system call and what it says.
    NoRing {
        /// Rings with fewer entries are made.
        entries_min: u32,
        /// What others are refused with.
        errno: i32,
    },
    /// So many bytes may be locked, and nobody is above that.
    Locked(u32),
    /// No other processor than the first of those that the test has.
    OneProcessor,
    /// The monotonic clock says that the machine has been up for a century.
    Century,
    /// The time of day is what [`crate::clocks::step`] makes of it.
    Stepped,
    /// A root that cannot be written, an empty `/proc`, no environment, nobody's user id.
    Bare,
}

/// Refuses `io_uring_setup` (system call 425 on all machines), then becomes the program in its
/// arguments: prctl PR_SET_NO_NEW_PRIVS, then PR_SET_SECCOMP with a filter that looks at the number
/// of the call and at its first argument.
const NO_RING: &str = "
import ctypes, os, struct, sys
least, errno = int(sys.argv[1]), int(sys.argv[2])
steps = [(0x20, 0, 0, 0), (0x15, 0, 3, 425), (0x20, 0, 0, 16), (0x35, 0, 1, least),
    (0x06, 0, 0, 0x50000 | errno), (0x06, 0, 0, 0x7fff0000)]
code = ctypes.create_string_buffer(b''.join(struct.pack('HBBI', *step) for step in steps))
class Program(ctypes.Structure):
    _fields_ = [('count', ctypes.c_ushort), ('steps', ctypes.c_void_p)]
program = Program(len(steps), ctypes.addressof(code))
libc = ctypes.CDLL(None, use_errno=True)
assert libc.prctl(38, 1, 0, 0, 0) == 0
assert libc.prctl(22, 2, ctypes.byref(program), 0, 0) == 0, os.strerror(ctypes.get_errno())
os.execv(sys.argv[3], sys.argv[3:])
";

/// Limits locked memory; root gives up CAP_IPC_LOCK (14), which others have not: prctl
/// PR_CAPBSET_DROP takes it from what is executed.
const LOCKED: &str = "
import ctypes, os, resource, sys
bytes = int(sys.argv[1])
resource.setrlimit(resource.RLIMIT_MEMLOCK, (bytes, bytes))
ctypes.CDLL(None).prctl(24, 14, 0, 0, 0)
os.execv(sys.argv[2], sys.argv[2:])
";

/// Becomes the program in its arguments on one processor.
const ONE_PROCESSOR: &str = "
import os, sys
os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])
os.execv(sys.argv[1], sys.argv[1:])
";

/// In namespaces of its own, as nobody who may mount there.
const BARE: &str = "
exec unshare --map-user=12345 --map-group=12345 --keep-caps --mount sh -c '
    mount -t tmpfs none /mnt && mkdir /mnt/root && mount --rbind / /mnt/root &&
    mount -o remount,bind,ro /mnt/root && mount -t tmpfs none /mnt/root/proc &&
    exec chroot /mnt/root env -i \"$0\" \"$@\"
' \"$0\" \"$@\"
";

/// In a time namespace of its own, which begins with the next program.
const CENTURY: &str = "
exec unshare --map-root-user --time --monotonic 3155760000 --boottime 3155760000 \"$0\" \"$@\"
";

impl Cage {
    /// The start of `binary` in it, without arguments yet.
    pub fn command(self, binary: &str) -> Command {
        let python = |script: &str, arguments: &[String]| {
            let mut command = Command::new("python3");
            command.args(["-c", script]).args(arguments).arg(binary);
            command
        };
        let shell = |line: &str| {
            let mut command = Command::new("sh");
            command.args(["-c", line, binary]);
            command
        };
        match self {
            Cage::Open => Command::new(binary),
            Cage::Shell(line) => shell(&format!("{line}; exec \"$0\" \"$@\"")),
            Cage::NoRing { entries_min, errno } => {
                python(NO_RING, &[entries_min.to_string(), errno.to_string()])
            }
            Cage::Locked(bytes) => python(LOCKED, &[bytes.to_string()]),
            Cage::OneProcessor => python(ONE_PROCESSOR, &[]),
            Cage::Century => shell(CENTURY),
            Cage::Stepped => {
                let mut command = Command::new(binary);
                command.envs(clocks::stepped());
                command
            }
            Cage::Bare => shell(BARE),
        }
    }
}
