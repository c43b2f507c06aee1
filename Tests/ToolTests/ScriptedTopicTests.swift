import Foundation
import Glibc
import IPC
import IPCChannels
import TestSupport
import Testing

/// `ipc topic subscribe … &` and `ipc topic publish …`, as scripts start them: whoever comes first makes the topic, the last takes it
/// away, and all the others find one.
@Suite(.timeLimit(.minutes(15))) struct ScriptedTopicTests {
    /// A subscriber, and publishers until it has its message; in each round the topic is made and goes. Prints the exit codes that are not 0.
    private static let script = """
        for round in $(seq 30); do
            "$1" topic subscribe "$2" --count 1 --timeout 20 > /dev/null 2> "$3/subscriber" & subscriber=$!
            while kill -0 $subscriber 2> /dev/null; do
                "$1" topic publish "$2" hello --quiet 2> "$3/publisher" || { echo "publish $?"; cat "$3/publisher"; }
            done
            wait $subscriber || { echo "subscribe $?"; cat "$3/subscriber"; }
        done
        """
    private static let removals = """
        while test -e "$3/goes-on"; do "$1" rm "$2" 2> /dev/null; done &
        """

    private func run(_ script: String) throws -> [Substring] {
        let folder = "/tmp/" + uniqueName()
        mkdir(folder, 0o700)
        defer { removeAll(folder) }
        try Data().write(to: URL(filePath: folder + "/goes-on"))
        let shell = try Peer(
            "bash", ["-c", script, "bash", product("ipc"), channelName(), folder],
            environment: ["IPC_ROOT=\(channelRoot)", "PATH=/usr/bin:/bin"])
        let (status, text) = try shell.finish(within: .seconds(240))
        #expect(status == .exited(0), "\(text)")
        return text.split(separator: "\n")
    }

    @Test func aTopicIsThereForWhoeverComesFirst() throws {
        let failures = try run(Self.script)
        #expect(failures.isEmpty, "\(failures)")
    }

    @Test func aTopicIsThereAlsoWhileItIsRemovedAllTheTime() throws {
        let failures = try run(Self.removals + "\n" + Self.script + "\nrm \"$3/goes-on\"; wait")
        // One that was removed under its user is told so, which is an exit code of 1; that there is none is never said.
        let unexpected = failures.filter {
            $0 != "publish 1" && $0 != "subscribe 1" && !$0.contains("removed while it was in use")
        }
        #expect(unexpected.isEmpty, "\(unexpected)")
    }
}
