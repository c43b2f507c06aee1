import CIPCShims
import Glibc
import IPC

/// One process of a round.
struct Child {
    let process: pid_t
    let group: pid_t
    let member: Int
    let started: UInt64
    /// When it is to be stopped, and to be killed.
    var stopAt = UInt64.max
    var killAt = UInt64.max
    var isStopped = false
    /// It was noticed that it has become another program.
    var isAnotherProgram = false
}

/// Starts and ends the processes of a round.
enum Children {
    /// Starts a participant in a process group of its own, or in the one given.
    static func start(
        _ member: Member, of plan: Plan, ledger: String, root: String, log: CInt, group: pid_t = 0
    ) throws(IPCError) -> Child {
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDWR, 0)
        posix_spawn_file_actions_adddup2(&actions, log, 1)
        posix_spawn_file_actions_adddup2(&actions, log, 2)
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        var none = SignalSet([]).raw
        posix_spawnattr_setsigmask(&attributes, &none)
        posix_spawnattr_setpgroup(&attributes, group)
        posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETPGROUP))

        var environment = ["IPC_ROOT=\(root)", "SWIFT_BACKTRACE=enable=no"]
        if let path = getenv("LD_LIBRARY_PATH") { environment.append("LD_LIBRARY_PATH=\(String(cString: path))") }
        if case .point(let point, let count) = member.death, !member.isSurvivor {
            environment.append("IPC_KILL_POINT=\(point):\(count)")
        }
        let arguments = [
            program, "participant", ledger, "\(plan.seed)", "\(plan.round)", "\(member.index)",
            plan.without.joined(separator: ","),
        ]
        var process: pid_t = 0
        let result = withCStrings(arguments) { arguments in
            withCStrings(environment) { posix_spawn(&process, program, &actions, &attributes, arguments, $0) }
        }
        guard result == 0 else {
            throw IPCError(.childFailed, "posix_spawn", program, advice: "errno \(result)")
        }
        return Child(
            process: process, group: group == 0 ? process : group, member: member.index, started: MonotonicClock.now)
    }

    private static let program: String = {
        var buffer = [CChar](repeating: 0, count: 4096)
        let count = readlink("/proc/self/exe", &buffer, buffer.count)
        return String(decoding: buffer.prefix(max(count, 0)).map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }()

    private static func withCStrings<Result>(
        _ strings: [String], _ body: (UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>) -> Result
    ) -> Result {
        var pointers: [UnsafeMutablePointer<CChar>?] = strings.map { strdup($0) }
        pointers.append(nil)
        defer { pointers.forEach { free($0) } }
        return pointers.withUnsafeMutableBufferPointer { body($0.baseAddress!) }
    }

    /// A process that has ended; nil if there is none now. Orphans are ours too: this process adopts them.
    static func reap() -> (process: pid_t, status: CInt)? {
        var status: CInt = 0
        let process = waitpid(-1, &status, WNOHANG)
        return process > 0 ? (process, status) : nil
    }
}
