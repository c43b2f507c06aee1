import Glibc
import IPC
import IPCChannels
import SystemPackage
import TestSupport
import Testing

/// The commands of whoever may only read a channel.
@Suite(.timeLimit(.minutes(15))) struct ObserveCommandTests {
    @Test func whatIsPublishedIsPrintedAndTheEndIsTold() throws {
        let name = channelName()
        let topic = try Topic<RawBytes>.openOrCreate(name, ChannelOptions(writers: .shared))
        var publisher = try topic.makePublisher()
        try publisher.publish("one".utf8.span.bytes)
        let observer = try Tool(["topic", "observe", name, "--from", "oldest", "--timeout", "20"])
        #expect(try observer.peer.said() == "one\n")
        try publisher.publish("two".utf8.span.bytes)
        #expect(try observer.peer.said() == "two\n")
        #expect(try ChannelDescription(ChannelName(name)).participants.count == 1)
        try publisher.publish("three".utf8.span.bytes)
        publisher.close()
        let outcome = try observer.finish()
        #expect(outcome.output == "three\n" && outcome.status != .exited(0))
        #expect(outcome.errors.contains("its last participant has left"), "\(outcome.errors)")
        #expect(try ipc("topic", "observe", name).status == .exited(4))
    }

    @Test(.enabled(if: OtherUser.isPossible, .init(stringLiteral: OtherUser.reason)))
    func aUserWhoMayOnlyReadUsesThoseThatTakeNoPart() throws {
        let (owner, reader) = (OtherUser.any(), OtherUser.any())
        let root = "/dev/shm/" + uniqueName()
        mkdir(root, 0o755)
        chmod(root, 0o755)
        chown(root, owner.user, owner.user)
        defer { removeAll(root) }
        func run(_ user: OtherUser, _ arguments: String...) throws -> (status: IPC.ExitStatus, text: String) {
            try user.start(product("ipc"), arguments, root: root).finish()
        }
        for arguments in [["topic", "publish", "t", "one", "two"], ["latest", "set", "l", "21.5"]] {
            let (status, text) = try owner.start(
                product("ipc"), arguments + ["--permissions", "0644", "--keep"], root: root
            ).finish()
            #expect(status == .exited(0), "\(text)")
        }
        for (arguments, output) in [
            (["topic", "observe", "t", "--from", "oldest", "--count", "2"], "one\ntwo\n"),
            (["tap", "t", "--from", "last:1", "--count", "1"], "two\n"), (["latest", "get", "l"], "21.5\n"),
            (["latest", "observe", "l", "--count", "1"], "21.5\n"),
        ] {
            let (status, text) = try reader.start(product("ipc"), arguments + ["--timeout", "20"], root: root).finish()
            #expect(status == .exited(0) && text == output, "\(arguments): \(text)")
        }
        let described = try run(reader, "topic", "info", "t")
        #expect(described.status == .exited(0) && described.text.contains("topic"), "\(described.text)")
        for arguments in [
            ["topic", "publish", "t", "three"], ["topic", "subscribe", "t", "--timeout", "1"],
            ["latest", "set", "l", "22"], ["rm", "t"],
        ] {
            let (status, text) = try reader.start(product("ipc"), arguments, root: root).finish()
            #expect(status == .exited(5) && text.contains("ermission"), "\(arguments): \(status) \(text)")
        }
        let late = try run(reader, "topic", "observe", "t", "--timeout", "0.2")
        #expect(late.status == .exited(3), "\(late.text)")
        // Whoever may also write to the files takes part, though it may make nothing in the root.
        let opened = try run(owner, "topic", "publish", "w", "one", "--permissions", "0666", "--keep")
        #expect(opened.status == .exited(0), "\(opened.text)")
        let published = try run(reader, "topic", "publish", "w", "two")
        #expect(published.status == .exited(0), "\(published.text)")
        let received = try run(reader, "topic", "subscribe", "w", "--from", "oldest", "--count", "2")
        #expect(received.status == .exited(0) && received.text == "one\ntwo\n", "\(received.text)")
    }
}
