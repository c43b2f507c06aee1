import Glibc
import IPC
import SystemPackage

/// What a user without privileges meets. Started as root, in a namespace of its own where the objects would stay.
enum Unprivileged {
    private static let nobody: uid_t = 65_534

    private static func dropPrivileges() {
        guard setgroups(0, nil) == 0, setgid(nobody) == 0, setuid(nobody) == 0 else { fatalError("start this as root") }
    }

    private static func report(_ name: String, _ body: () throws(IPCError) -> Void) {
        do throws(IPCError) {
            try body()
            print(name, "no error")
        } catch {
            print(name, error.code, error.advice)
        }
    }

    /// Pipes and queues up to the limits that only root may pass.
    static func limits() throws {
        dropPrivileges()
        let pipe = try AnonymousPipe()
        report("pipe") { () throws(IPCError) in try pipe.writer.setCapacity(1 << 30) }
        var queues = 0
        report("queues") { () throws(IPCError) in
            while queues < 100_000 {
                _ = try MessageQueue.create("/ipc-test-\(queues)", maximumMessages: 1, messageSize: 1)
                queues += 1
            }
        }
        print("made", queues)
        fflush(nil)
    }

    /// Connects to each of the endpoints.
    static func connect(_ endpoints: [String]) throws {
        let endpoints = try endpoints.map { (text) throws(IPCError) in try Endpoint(text) }
        dropPrivileges()
        for endpoint in endpoints {
            report(endpoint.description) { () throws(IPCError) in
                _ = try StreamSocket.connect(to: endpoint, until: .after(.seconds(5)))
            }
        }
        fflush(nil)
    }
}
