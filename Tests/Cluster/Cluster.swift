// Three hosts on one machine, in network namespaces, with a NATS server, a bridge and programs in each; kills, stops and cuts them
// off, and looks at what becomes of messages, jobs and calls.
//
//     Cluster --server NATS-SERVER --bridge IPC-BRIDGE [--messages N] [--jobs N] [--calls N] [--minutes M] [--seed S]
//             [--cut SECONDS] [--cuts COUNT]
//     Cluster inside …               the same in namespaces of its own, started by the first form
//     Cluster participant …          one program of a host
import Glibc
import IPC
import SystemPackage

@main
struct Cluster {
    static func main() {
        var arguments = Array(CommandLine.arguments.dropFirst())
        if arguments.first == "participant" { exit(Participant.run(Array(arguments.dropFirst()))) }
        let isInside = arguments.first == "inside"
        if isInside { arguments.removeFirst() }
        guard let options = Options(arguments) else {
            fail(
                "usage: Cluster --server NATS-SERVER --bridge IPC-BRIDGE [--messages N] [--jobs N] [--calls N] [--minutes M] [--seed S] [--cut SECONDS] [--cuts COUNT]"
            )
        }
        guard getuid() == 0 else { fail("Cluster makes network namespaces, which only root may do; start it as root") }
        do {
            exit(isInside ? try Run(options).run() : try outside(options))
        } catch {
            fail("\(error)")
        }
    }

    /// Starts the run as the first process of namespaces of its own. When it ends, or is killed, the kernel ends all others in them,
    /// and removes the hosts, their links, their files and their servers' stores.
    private static func outside(_ options: Options) throws -> CInt {
        let signals = try SignalSource([.interrupt, .terminate, .hangUp])
        let guardian = try ProcessGuardian()
        let child = try ChildProcess(
            "unshare",
            ["--net", "--mount", "--pid", "--fork", "--kill-child=KILL", "--mount-proc", program, "inside"]
                + options.arguments,
            environment: .inherited, workingDirectory: nil, standardError: .inherited, descriptors: [:],
            processGroup: .new, guardian: guardian)
        while true {
            // Whatever keeps it, it ends with its process group.
            if let received = try? signals.next(until: .after(.milliseconds(200))) {
                return 128 + received.signal.rawValue
            }
            guard let status = try child.tryWait() else { continue }
            if case .exited(let code) = status { return CInt(code) }
            say("the run was ended: \(status)")
            return 1
        }
    }

    static let program: String = {
        var buffer = [CChar](repeating: 0, count: 4096)
        let count = readlink("/proc/self/exe", &buffer, buffer.count)
        return String(decoding: buffer.prefix(max(count, 0)).map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }()

    private static func fail(_ text: String) -> Never {
        var line = text + "\n"
        _ = line.withUTF8 { write(2, $0.baseAddress, $0.count) }
        exit(2)
    }
}

/// What the command line asks for.
struct Options {
    var server = ""
    var bridge = ""
    var messages = 1_000_000
    var jobs = 100_000
    var calls = 10_000
    /// For how long messages, jobs and calls are sent.
    var seconds = 600.0
    var seed = UInt64.random(in: 1...UInt64(UInt32.max))
    /// How long a host is cut off, and how often in all; nil for once in 30 seconds.
    var cut = 10.0
    var cuts: Int?

    var arguments: [String] {
        [
            "--server", server, "--bridge", bridge, "--messages", "\(messages)", "--jobs", "\(jobs)", "--calls",
            "\(calls)",
            "--minutes", "\(seconds / 60)", "--seed", "\(seed)", "--cut", "\(cut)",
        ] + (cuts.map { ["--cuts", "\($0)"] } ?? [])
    }

    init?(_ arguments: [String]) {
        var rest = arguments[...]
        func number(_ text: String, upTo limit: Int = 1 << 39) -> Int? {
            Int(text).flatMap { (0...limit).contains($0) ? $0 : nil }
        }
        while let name = rest.popFirst() {
            guard let value = rest.popFirst() else { return nil }
            switch name {
            case "--server": server = value
            case "--bridge": bridge = value
            case "--messages": guard let count = number(value) else { return nil }; messages = count
            case "--jobs": guard let count = number(value) else { return nil }; jobs = count
            case "--calls": guard let count = number(value) else { return nil }; calls = count
            case "--cuts": guard let count = number(value, upTo: 10_000) else { return nil }; cuts = count
            case "--seed": guard let seed = UInt64(value) else { return nil }; self.seed = seed
            case "--minutes":
                guard let minutes = Double(value), minutes > 0, minutes < 10_000 else { return nil }
                seconds = minutes * 60
            case "--cut":
                guard let cut = Double(value), cut > 0, cut < 25 else { return nil }
                self.cut = cut
            default: return nil
            }
        }
        guard !server.isEmpty, !bridge.isEmpty else { return nil }
    }
}
