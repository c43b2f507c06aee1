import CIPCShims
import Glibc
import IPC

/// What `ipc doctor` tells of the sandbox that it runs in: which system calls are refused, and which names mean others here.
enum SandboxFindings {
    typealias Finding = DoctorCommand.Finding

    static func all() -> [Finding] { calls() + [filter(), processes(), users()] + [fifos()].compactMap { $0 } }

    /// Each is made, in a way that changes nothing.
    private static func calls() -> [Finding] {
        let calls: [(ipc_newer_call, String, String)] = [
            (
                IPC_CALL_FUTEX_WAITV, "futex_waitv",
                "asynchronous waits in shared memory without polling (Linux 5.16)"
            ),
            (IPC_CALL_PIDFD_OPEN, "pidfd_open", "process handles whose numbers cannot be reused (Linux 5.3)"),
            (IPC_CALL_MEMBARRIER, "membarrier", "channel writes without a memory fence (Linux 4.16)"),
            (IPC_CALL_PWRITEV2, "pwritev2", "pipe writes that neither block nor raise SIGPIPE (Linux 4.6)"),
            (IPC_CALL_MEMFD_CREATE, "memfd_create", "anonymous shared memory with seals (Linux 3.17)"),
            (IPC_CALL_CLOSE_RANGE, "close_range", "fast child start with many open descriptors (Linux 5.9)"),
        ]
        return calls.map { call, name, meaning in
            let error = ipc_try_call(call)
            let value =
                switch error {
                case 0: "yes"
                case ENOSYS: "no (ENOSYS)"
                default: "refused (\(unsafe String(cString: strerror(error))))"
                }
            let advice =
                switch error {
                case 0: nil as String?
                case ENOSYS:
                    "the kernel is older, or a sandbox (seccomp) hides the system call: allow it there; "
                        + "without it, this library uses a fallback or reports an error"
                default:
                    "a sandbox (seccomp, or a security module) refuses it: allow the system call in its profile; "
                        + "without it, this library uses a fallback or reports an error"
                }
            return Finding(name: name, value: value, meaning: meaning, advice: advice)
        }
    }

    private static func filter() -> Finding {
        let mode = ProcFiles.lines("/proc/self/status").first { $0.hasPrefix("Seccomp:") }?.split(separator: "\t").last
        let value =
            switch mode {
            case "0": "none"
            case "1": "strict"
            case "2": "a filter"
            default: "unknown"
            }
        return Finding(
            name: "seccomp", value: value,
            meaning: "the system call filter of a sandbox; refused calls are listed above",
            advice: nil)
    }

    private static func processes() -> Finding {
        let fields =
            ProcFiles.lines("/proc/self/status").first { $0.hasPrefix("NSpid:") }?.split(separator: "\t").dropFirst()
            ?? []
        // Those of the namespaces below the one that /proc was mounted for; and the first process of one is number 1 there.
        let isNested = fields.count > 1 || ProcFiles.link("/proc/self/ns/pid") != "pid:[4026531836]"
        return Finding(
            name: "pid namespace", value: isNested ? "its own" : "the machine's",
            meaning: isNested
                ? "processes outside have no number here: peer credentials contain only their user and group"
                : "every process has a number here",
            advice: nil)
    }

    private static func users() -> Finding {
        let map = ProcFiles.lines("/proc/self/uid_map").map { $0.split(separator: " ").map(String.init) }
        let isWhole = map == [["0", "0", "4294967295"]]
        let most = ProcFiles.text("/proc/sys/user/max_user_namespaces")?.prefix { $0 != "\n" } ?? "?"
        return Finding(
            name: "user namespace", value: isWhole ? "the machine's (\(most) more can be created)" : "its own",
            meaning: isWhole
                ? "every user has a number here"
                : "users without a number here are shown as 65534 and own nothing here",
            advice: nil)
    }

    private static func fifos() -> Finding? {
        guard let value = ProcFiles.text("/proc/sys/fs/protected_fifos")?.prefix(while: { $0 != "\n" }) else {
            return nil
        }
        return Finding(
            name: "fs.protected_fifos", value: String(value),
            meaning: value == "0"
                ? "a user who creates a FIFO in a shared folder such as /tmp can read what others write to it (1 prevents that)"
                : "O_CREAT does not open another user's FIFO in a shared folder such as /tmp, not even for root",
            advice: nil)
    }
}
