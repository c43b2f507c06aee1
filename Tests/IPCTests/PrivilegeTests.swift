import Glibc
import IPC
import SystemPackage
import TestSupport
import Testing

/// What only another user than root meets: the tests run as root, so a child gives its privileges up.
@Suite(.enabled(if: getuid() == 0, "another user cannot give privileges up"), .timeLimit(.minutes(10)))
struct PrivilegeTests {
    @Test func limitsThatRootPassesAreExplainedToOthers() throws {
        // In an IPC namespace of its own: its queues are not the machine's, and go with it.
        let peer = try Peer("unshare", ["--ipc", product("TestPeer"), "unprivileged-limits"])
        let (status, text) = try peer.finish()
        let lines = text.split(separator: "\n")
        #expect(status == .exited(0) && lines.count == 3)
        #expect(lines[0].hasPrefix("pipe permissionDenied") && lines[0].contains("fs.pipe-max-size"))
        #expect(lines[1].hasPrefix("queues limitReached") && lines[1].contains("fs.mqueue.queues_max"))
        let limit = try String(decoding: bytes(of: "/proc/sys/fs/mqueue/queues_max"), as: UTF8.self)
        #expect(lines[2] == "made " + limit.prefix { $0 != "\n" })
    }

    @Test func aSocketFileHasPermissionsAndAnAbstractNameHasNone() throws {
        let name = uniqueName()
        let file = try Endpoint("unix:///tmp/\(name)")
        let abstract = try Endpoint("unix-abstract:\(name)")
        let restricted = try StreamListener(file)
        let open = try StreamListener(abstract)
        let peer = try Peer.role("unprivileged-connect", "\(file)", "\(abstract)")
        let text = try peer.finish().text
        let lines = text.split(separator: "\n")
        #expect(lines.count == 2)
        #expect(lines.first?.hasPrefix("\(file) permissionDenied") == true)
        #expect(lines.last?.hasPrefix("\(abstract) no error") == true)
        // What tells who came through an abstract name.
        let stranger = try open.accept(until: .after(.seconds(5))).peerCredentials.user
        #expect(stranger == 65_534)
        restricted.close()
        open.close()
    }

    private func bytes(of path: FilePath) throws -> [UInt8] {
        let file = OwnedDescriptor(adopting: try FileDescriptor.open(path, .readOnly))
        return try [UInt8](unsafeUninitializedCapacity: 64) { buffer, count in
            count = try file.descriptor.read(into: UnsafeMutableRawBufferPointer(buffer))
        }
    }
}
