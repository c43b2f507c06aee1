import Foundation
import Glibc
import IPC
import IPCChannels
import SystemPackage
import TestSupport
import Testing

/// Each file of a root, with something else in its place: the library and the command go on, or name it and say what to do.
/// Nothing is followed, nothing blocks, and nothing ends a program.
@Suite(.timeLimit(.minutes(15))) struct RootFileTests {
    private static let name = "files/queue"

    /// The files, in the root.
    private static let files = [
        ".lock", ".wake-00000001", "files:queue", "files:queue/control", "files:queue/log", "files:queue/locks",
        "files:queue:dead-letters", "files:queue:dead-letters/control", "files:queue:dead-letters/log",
    ]

    /// What is put in a file's place: commands of a shell, with `$1` for the file and `$2` for another that must not change.
    private static let things: [(name: String, command: String)] = [
        ("a link to a file", "ln -s $2 $1"), ("a link to nothing", "ln -s $2.none $1"),
        ("a link to a folder", "ln -s ${2%/*} $1"), ("a folder", "mkdir $1"),
        ("a folder with a file", "mkdir $1; touch $1/file"), ("a FIFO", "mkfifo $1"),
        ("a socket", "python3 -c 'import socket, sys; socket.socket(socket.AF_UNIX).bind(sys.argv[1])' $1"),
        ("an empty file", "touch $1"), ("a short file", "printf 0123456789 > $1"),
        ("a file of mode 0000", "touch $1; chmod 0000 $1"), ("a folder of mode 0000", "mkdir -m 0000 $1"),
    ]

    /// What only the superuser can put there, who then runs everything.
    private static let devices: [(name: String, command: String)] = [
        ("a character device", "mknod $1 c 1 3"), ("a terminal", "mknod $1 c 5 0"),
        ("a block device", "mknod $1 b 7 250"),
    ]
    /// In a container it may be forbidden.
    private static let canMakeDevices: Bool = {
        let path = "/dev/shm/" + uniqueName()
        defer { unlink(path) }
        return mknod(path, S_IFCHR | 0o600, dev_t(1 << 8 | 3)) == 0
    }()

    /// What is run then: a name, and words with `$3` for the participant and `$4` for the command.
    private static let runs: [(name: String, words: String)] = [
        ("library", "$3 attempts \(name)"), ("ipc ls", "$4 ls channel"), ("ipc info", "$4 info \(name)"),
        ("ipc doctor", "$4 doctor"), ("ipc clean", "$4 clean --yes"), ("ipc rm", "$4 rm \(name)"),
        ("library again", "$3 attempts \(name)"), ("outside", "cat ${2%/*}/*"),
    ]

    /// All in one shell, as a user without privileges where that is possible: what each said, and its exit code.
    private func outcomes(
        _ file: String, _ command: String, asRoot: Bool = false
    ) throws -> [String: (text: String, code: Int)] {
        let user = OtherUser.isPossible && !asRoot ? OtherUser.any() : nil
        let path = "/dev/shm/" + uniqueName()
        mkdir(path, 0o755)
        chmod(path, 0o755)
        if let user { chown(path, user.user, user.user) }
        defer { removeAll(path) }
        let (root, outside) = (path + "/root", path + "/outside/file")
        let each = Self.runs.map { "echo '@@@\($0.name)'; timeout -s KILL 20 \($0.words); echo \"@@@ $?\"" }
        let script = """
            mkdir -m 700 \(root) \(path)/outside && printf outside > $2 && $3 attempts-prepare \(Self.name) && rm -rf "$1" &&
            \(command) || exit 9
            \(each.joined(separator: "\n"))
            """
        let words = [
            "-c", script, "sh", root + "/" + file, outside, try OtherUser.reachable(product("ChannelPeer")),
            try OtherUser.reachable(product("ipc")),
        ]
        let (status, text) =
            if let user {
                try user.start("sh", words, root: root).finish(within: .seconds(200))
            } else {
                try Peer(
                    "sh", ["-c", "exec sh \"$@\" 2>&1", "sh"] + words,
                    environment: ["PATH=/usr/bin:/bin", "IPC_ROOT=\(root)", "HOME=/nonexistent"]
                ).finish(within: .seconds(200))
            }
        #expect(status == .exited(0), "\(command): \(text)")
        var outcomes: [String: (String, Int)] = [:]
        let parts = text.components(separatedBy: "@@@").dropFirst()
        for (said, code) in zip(parts, parts.dropFirst()) where code.hasPrefix(" ") {
            let lines = said.split(separator: "\n", maxSplits: 1, omittingEmptySubsequences: false)
            outcomes[String(lines[0])] = (String(lines.last ?? ""), Int(code.prefix { $0 != "\n" }.dropFirst()) ?? -1)
        }
        #expect(outcomes.count == Self.runs.count, "\(command): \(text)")
        return outcomes
    }

    @Test(arguments: files)
    func somethingElseInTheirPlaceIsNamed(file: String) throws {
        for thing in Self.things { try check(thing, as: file, asRoot: false) }
        if Self.canMakeDevices { for thing in Self.devices { try check(thing, as: file, asRoot: true) } }
    }

    private func check(_ thing: (name: String, command: String), as file: String, asRoot: Bool) throws {
        // Of the channel that is asked for.
        let isChannels = file.hasPrefix("files:queue") && !file.contains("dead-letters")
        let what = "\(thing.name) as \(file)"
        let outcomes = try outcomes(file, thing.command, asRoot: asRoot)
        for (name, outcome) in outcomes where name != "outside" { check(outcome, "\(what), \(name)") }
        #expect(outcomes["outside"]?.text == "outside", "\(what)")
        // Where the channel itself cannot be looked at, each says so. The locks are not looked at for that.
        for name in ["ipc ls", "ipc info", "ipc doctor"] where isChannels && file != "files:queue/locks" {
            let text = outcomes[name]?.text ?? ""
            #expect(text.contains(Self.name) || text.contains("/root/files:queue"), "\(what), \(name): \(text)")
        }
        // The advice is right: where it says no more than that the channel is to be removed, that can be done.
        let said = ["library", "ipc ls", "ipc info", "ipc doctor"].map { outcomes[$0]?.text ?? "" }.joined()
        let isAdvised = said.contains("ipc rm \(Self.name))") && !said.contains("away, remove")
        let removal = outcomes["ipc rm"]
        if isAdvised { #expect(removal?.code == 0, "\(what): \(removal?.text ?? "")") }
        if file.hasPrefix("files:queue/") {
            let isFilled = thing.name == "a folder with a file"
            #expect((removal?.code == 0) == !isFilled, "\(what): \(removal?.text ?? "")")
            #expect(!isFilled || removal?.text.contains("move it away first") == true, "\(what)")
        }
        // What is removed can be made anew.
        if outcomes["ipc rm"]?.code == 0, isChannels {
            let again = outcomes["library again"]?.text ?? ""
            #expect(again.contains("create: done\nsend: done\nwork: done\n"), "\(what): \(again)")
        }
    }

    /// Ended by itself; each error says more than that the call failed.
    private func check(_ outcome: (text: String, code: Int), _ what: String) {
        #expect((0..<128).contains(outcome.code), "\(what): \(outcome)")
        for told in ["the call failed", "Fatal error", "not permitted:"] {
            #expect(!outcome.text.contains(told), "\(what): \(outcome.text)")
        }
    }
}
