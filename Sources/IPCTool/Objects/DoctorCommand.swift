import ArgumentParser
import Glibc
import IPC
import IPCBenchmarks
import IPCChannels

/// `ipc doctor`: limits and settings that IPC runs into.
struct DoctorCommand: Interruptible {
    static let configuration = CommandConfiguration(
        commandName: "doctor",
        abstract: "Check the limits that affect IPC, find stuck channels, and say what to change.",
        discussion: """
            It reports channels with stopped participants, subscribers that are nearly a whole log behind, queues with due jobs \
            and no worker, services with callers and no server, and channels that cannot be used.

            The exit code is 1 if a limit is so low that programs are likely to fail, or if a channel is stuck.
            """)

    @OptionGroup var format: FormatOption

    struct Finding {
        let name: String
        let value: String
        /// What it means.
        let meaning: String
        /// What to change; nil if it is well.
        let advice: String?
        /// What stands before it if it is not well.
        var label = "low"
    }

    func perform() async throws {
        let findings = Self.limits() + Self.memory() + Self.channels() + Self.kernel() + SandboxFindings.all()
        if format.format == .json {
            let all = findings.map { finding in
                JSONValue.members([
                    ("name", .string(finding.name)), ("value", .string(finding.value)),
                    ("meaning", .string(finding.meaning)), ("ok", .bool(finding.advice == nil)),
                    ("advice", JSONValue(finding.advice)),
                ])
            }
            try MessageOutput.put(line: JSONValue.array(all).text)
        } else {
            try MessageOutput.put(
                line: TableFormat.aligned(
                    findings.map { finding in
                        [finding.advice == nil ? "ok " : finding.label, finding.name, finding.value, finding.meaning]
                    }))
            for finding in findings {
                if let advice = finding.advice {
                    try MessageOutput.put(line: "\(finding.name): \(advice)".escapingControls)
                }
            }
        }
        if findings.contains(where: { $0.advice != nil }) { throw ExitCode(1) }
    }

    private static func number(_ path: String) -> Int? {
        ProcFiles.text(path).flatMap { Int($0.prefix { $0 != "\n" && $0 != "\t" }) }
    }

    private static func limits() -> [Finding] {
        func setting(_ key: String, atLeast: Int, _ meaning: String) -> Finding? {
            guard let value = number("/proc/sys/" + key.replacing(".", with: "/")) else { return nil }
            return Finding(
                name: key, value: "\(value)", meaning: meaning,
                advice: value < atLeast ? "sysctl -w \(key)=\(atLeast) (to keep it, set it in /etc/sysctl.d)" : nil)
        }
        func limit(_ name: String, _ resource: CInt, atLeast: UInt, _ meaning: String, _ flag: String) -> Finding {
            var value = rlimit()
            unsafe getrlimit(__rlimit_resource_t(UInt32(resource)), &value)
            let isInfinite = value.rlim_cur == rlim_t.max
            return Finding(
                name: name, value: isInfinite ? "unlimited" : "\(value.rlim_cur)", meaning: meaning,
                advice: value.rlim_cur < atLeast
                    ? "ulimit \(flag) \(min(atLeast, UInt(value.rlim_max))) (the hard limit is \(value.rlim_max == rlim_t.max ? "unlimited" : "\(value.rlim_max)"))"
                    : nil)
        }
        return [
            setting("fs.mqueue.msg_max", atLeast: 10, "maximum messages in a message queue"),
            setting("fs.mqueue.msgsize_max", atLeast: 8192, "maximum bytes of a message in a message queue"),
            setting("fs.mqueue.queues_max", atLeast: 64, "maximum message queues on this machine"),
            limit("RLIMIT_MSGQUEUE", 12, atLeast: 819_200, "maximum bytes in all message queues of this user", "-q"),
            limit(
                "RLIMIT_NOFILE", CInt(RLIMIT_NOFILE.rawValue), atLeast: 1024,
                "descriptors per process; a subscription takes one", "-n"),
            limit("RLIMIT_SIGPENDING", 11, atLeast: 1024, "signals that may be queued for this user", "-i"),
            setting("fs.pipe-max-size", atLeast: 1_048_576, "maximum capacity of a pipe, in bytes"),
            setting(
                "fs.pipe-user-pages-soft", atLeast: 16_384, "pages in a user's pipes; new pipes beyond it are small"
            ),
            setting("fs.inotify.max_user_instances", atLeast: 128, "named pipes whose opening a user can await"),
            setting("net.core.somaxconn", atLeast: 128, "connections that can wait to be accepted"),
            setting("net.unix.max_dgram_qlen", atLeast: 10, "datagrams that can wait at a Unix socket"),
            setting("net.core.wmem_max", atLeast: 212_992, "maximum send buffer of a socket, in bytes"),
            setting("vm.max_map_count", atLeast: 65_530, "memory mappings per process; a subscription takes three"),
            setting("kernel.pid_max", atLeast: 32_768, "process identifiers"),
        ].compactMap { $0 }
    }

    private static func memory() -> [Finding] {
        var findings: [Finding] = []
        var status = statvfs()
        if unsafe statvfs("/dev/shm", &status) == 0 {
            // Whoever serves a file system may say anything.
            let (size, free) = (
                Int(clamping: status.f_blocks &* status.f_frsize), SystemLimits.freeBytes(at: "/dev/shm")
            )
            findings.append(
                Finding(
                    name: "/dev/shm", value: "\(Table.size(free)) of \(Table.size(size)) free",
                    meaning: "shared memory, named semaphores and channels",
                    advice: free < 64 << 20
                        ? "mount -o remount,size=50% /dev/shm; in a container: docker run --shm-size=1g" : nil))
        } else {
            findings.append(
                Finding(
                    name: "/dev/shm", value: "not there", meaning: "shared memory, named semaphores and channels",
                    advice: "mount -t tmpfs tmpfs /dev/shm"))
        }
        let pages = ProcFiles.lines("/proc/meminfo").first { $0.hasPrefix("HugePages_Total") }?.split(separator: " ")
            .last
        findings.append(
            Finding(name: "huge pages", value: String(pages ?? "0"), meaning: "for large logs; optional", advice: nil)
        )
        let isMounted = ProcFiles.text("/proc/mounts")?.contains(" mqueue ") == true
        findings.append(
            Finding(
                name: "/dev/mqueue", value: isMounted ? "mounted" : "not mounted",
                meaning: "needed only to list message queues", advice: nil))
        return findings
    }

    private static func channels() -> [Finding] {
        var refusal: String?
        var names: [ChannelName] = []
        do throws(IPCError) { names = try ChannelRoot.current.names() } catch { refusal = error.advice }
        var findings = [
            Finding(
                name: "channels", value: ChannelRoot.current.path, meaning: "the root folder of channels (IPC_ROOT)",
                advice: refusal)
        ]
        // Those that nobody can use.
        for name in names {
            do throws(IPCError) { findings += ChannelFindings.all(try ChannelDescription(name)) } catch {
                guard Inventory.isToBeTold(error, name, in: .current) else { continue }
                findings.append(
                    Finding(
                        name: "\(name)", value: "\(error.code)", meaning: "a channel that cannot be used",
                        advice: error.advice, label: "bad"))
            }
        }
        return findings + [RemoveIPC().finding]
    }

    private static func kernel() -> [Finding] {
        let version = ProcFiles.text("/proc/sys/kernel/osrelease")?.prefix { $0 != "\n" } ?? "?"
        let parts = version.split(separator: ".").prefix(2).compactMap { Int($0.prefix { $0.isNumber }) }
        let isNew = parts.count == 2 && (parts[0], parts[1]) >= (5, 16)
        return [
            Finding(
                name: "kernel", value: String(version),
                meaning: isNew
                    ? "has all calls that are used" : "older than 5.16: asynchronous semaphore waits poll",
                advice: nil)
        ]
    }
}
