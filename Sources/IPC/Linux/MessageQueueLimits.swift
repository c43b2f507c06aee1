import CIPCShims
import SystemPackage

/// The four limits that stand behind three error numbers of `mq_open`, told apart.
enum MessageQueueLimits {
    private static let folder = "/proc/sys/fs/mqueue/"

    static func explain(_ errno: Errno, _ name: String, maximumMessages: Int, messageSize: Int) -> IPCError {
        switch errno {
        case .invalidArgument:
            for (what, wanted, setting) in [
                ("message size", messageSize, "msgsize_max"), ("number of messages", maximumMessages, "msg_max"),
            ] {
                if let limit = SystemLimits.setting(folder + setting), wanted > limit {
                    return IPCError(
                        .limitReached, "mq_open", name, errno: errno,
                        advice:
                            "\(what) \(wanted) exceeds this system's limit \(limit); raise fs.mqueue.\(setting), or request less"
                    )
                }
            }
            return IPCError(
                "mq_open", name, errno,
                advice: "the number or the size of messages exceeds this system's limits; request less")
        case .tooManyOpenFiles:
            let needed = queueBytes(maximumMessages, messageSize)
            let limit = SystemLimits.resource(IPC_RLIMIT_MSGQUEUE)
            if limit != .max, SystemLimits.freeDescriptorExists {
                return IPCError(
                    .limitReached, "mq_open", name, errno: errno,
                    advice:
                        "the queue needs \(needed) bytes, but this user's queues may have \(limit) in total; unlink some, or raise ulimit -q"
                )
            }
            return IPCError("mq_open", name, errno)
        case .noSpace:
            let limit = SystemLimits.setting(folder + "queues_max") ?? 0
            return IPCError(
                .limitReached, "mq_open", name, errno: errno,
                advice:
                    "this system has reached its limit of \(limit) queues; unlink some, or raise fs.mqueue.queues_max")
        case .noFunction:
            return IPCError("mq_open", name, errno, advice: "this kernel was built without POSIX message queues")
        default: return IPCError("mq_open", name, errno)
        }
    }

    /// What a queue counts against `RLIMIT_MSGQUEUE`: `mqueue_get_inode` in the kernel's ipc/mqueue.c.
    private static func queueBytes(_ messages: Int, _ size: Int) -> Int {
        let (bytes, overflow) = messages.multipliedReportingOverflow(by: size &+ 48)
        return overflow || bytes < 0 ? .max : bytes &+ min(messages, 32768) * 48
    }
}
