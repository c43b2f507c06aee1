import Glibc
import IPC
import IPCChannels
import SystemPackage

/// One process of a host, with the successors that it has when it is killed.
final class Member {
    enum Role: String, CaseIterable {
        case nats, bridge, publisher, subscriber, producer, worker, client, server

        static let programs: [Role] = [.publisher, .subscriber, .producer, .worker, .client, .server]

        /// How many of them a host has.
        var count: Int { [.nats, .bridge, .producer].contains(self) ? 1 : 2 }
        /// It sends a number of things, and ends.
        var isSource: Bool { [.publisher, .producer, .client].contains(self) }
    }

    let role: Role
    let host: Int
    let index: Int
    private var child: ChildProcess?
    var isStopped = false
    /// When it is to be started again, or to go on.
    var changesAt: Double?
    /// Of a source: what is left to be sent, and where the present one counts.
    var left = 0
    var sourceFile: String?
    var isFinished = false

    init(_ role: Role, host: Int, index: Int) { (self.role, self.host, self.index) = (role, host, index) }

    var isRunning: Bool { child != nil }
    var name: String { "\(role.rawValue) \(index) of host \(host + 1)" }

    func start(_ program: String, _ arguments: [String], root: String, log: String) throws {
        let output = try FileDescriptor.open(
            FilePath(log), .writeOnly, options: [.append, .create, .closeOnExec], permissions: .ownerReadWrite)
        defer { try? output.close() }
        // nsenter becomes the program.
        child = try ChildProcess(
            "nsenter", ["--net=/run/netns/host\(host + 1)", program] + arguments,
            environment: .changing(["IPC_ROOT": root, "SWIFT_BACKTRACE": "enable=no"]), standardInput: .empty,
            descriptors: [1: output, 2: output])
        isStopped = false
        changesAt = nil
    }

    func send(_ signal: Signal) {
        switch child {
        case .some(let child): try? child.handle.send(signal)
        case nil: break
        }
    }

    /// SIGKILL, and waits.
    func kill() {
        child = nil
        isStopped = false
    }

    /// How it ended, if it did by itself.
    func ended() -> ExitStatus? {
        let status: ExitStatus?
        switch child {
        case .some(let child): status = try? child.tryWait()
        case nil: status = nil
        }
        if status != nil { child = nil }
        return status
    }
}

/// The hosts: namespaces with a link each to a bridge device, and a root of channels.
struct Hosts {
    static let folder = "/dev/shm/cluster"
    private let options: Options

    /// Makes them in this process's own namespaces.
    init(_ options: Options) throws {
        self.options = options
        for place in ["/dev/shm", "/run"] { try Self.command("mount", "-t", "tmpfs", "tmpfs", place) }
        try Self.command("mkdir", Self.folder)
        try Self.command("ip", "link", "set", "lo", "up")
        try Self.command("ip", "link", "add", "hub", "type", "bridge")
        try Self.command("ip", "link", "set", "hub", "up")
        for host in 1...Plan.hosts {
            let name = "host\(host)"
            try Self.command("ip", "netns", "add", name)
            try Self.command("ip", "link", "add", "to-\(name)", "type", "veth", "peer", "name", "eth0", "netns", name)
            try Self.command("ip", "link", "set", "to-\(name)", "master", "hub", "up")
            try Self.command("ip", "-n", name, "address", "add", "10.77.0.\(host)/24", "dev", "eth0")
            try Self.command("ip", "-n", name, "link", "set", "eth0", "up")
            try Self.command("ip", "-n", name, "link", "set", "lo", "up")
            try Self.command("mkdir", "-m", "700", Self.root(host - 1))
            try write("nats-\(host).conf", server(host))
            try write("bridge-\(host).json", bridge(host))
        }
    }

    static func root(_ host: Int) -> String { "\(folder)/root-\(host + 1)" }

    static func setLink(of host: Int, isUp: Bool) throws {
        try command("ip", "link", "set", "to-host\(host + 1)", isUp ? "up" : "down")
    }

    private func server(_ host: Int) -> String {
        let routes = (1...Plan.hosts).map { "\"nats://10.77.0.\($0):6222\"" }.joined(separator: ", ")
        return """
            server_name: host\(host)
            listen: "10.77.0.\(host):4222"
            jetstream { store_dir: "\(Self.folder)/store-\(host)", max_file: 8G, max_mem: 256M }
            cluster { name: hosts, listen: "10.77.0.\(host):6222", routes: [\(routes)] }

            """
    }

    private func bridge(_ host: Int) -> String {
        let servers = (1...Plan.hosts).map { "\"nats://10.77.0.\($0):4222\"" }.joined(separator: ", ")
        return """
            { "machine": "host\(host)", "servers": [\(servers)],
              "channels": [
                { "name": "\(Names.topic)", "pattern": "topic", "replicas": 3 },
                { "name": "\(Names.queue)", "pattern": "queue", "replicas": 3, "acknowledgement-wait": "30s" },
                { "name": "\(Names.service)", "pattern": "service" } ] }

            """
    }

    private func write(_ name: String, _ text: String) throws {
        let file = try FileDescriptor.open(
            FilePath("\(Self.folder)/\(name)"), .writeOnly, options: [.create, .closeOnExec],
            permissions: .ownerReadWrite)
        _ = try file.closeAfter { try file.writeAll(text.utf8) }
    }

    static func command(_ program: String, _ arguments: String...) throws {
        let status = try ChildProcess(program, arguments, standardInput: .empty).wait(until: .after(.seconds(20)))
        guard status.isSuccess else {
            throw IPCError(
                .childFailed, program, arguments.joined(separator: " "),
                advice:
                    "it ended with \(status): this system does not let namespaces be made, or lacks a program of iproute2 or util-linux"
            )
        }
    }
}
