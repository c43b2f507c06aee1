import Foundation
import Glibc
import IPC
import IPCChannels
import SystemPackage
import TestSupport
import Testing

/// What the command reads of files that somebody else may have made.
@Suite(.timeLimit(.minutes(15))) struct HostileInputTests {
    private func folder() -> String {
        let path = "/tmp/\(uniqueName())"
        mkdir(path, 0o700)
        return path
    }

    private func remove(_ path: String) {
        do { try FileManager.default.removeItem(atPath: path) } catch { Issue.record(error) }
    }

    private func isOrderly(_ outcome: Tool.Outcome) -> Bool {
        guard case .exited(let code) = outcome.status else { return false }
        return ![132, 133, 134, 135, 136, 139].contains(code)
    }

    // MARK: Caches

    /// A short one; on a machine that has much to do, it takes its time nevertheless.
    private func bench(_ environment: [String: String]) throws -> String {
        var all = ["IPC_ROOT=\(channelRoot)", "PATH=/usr/bin:/bin"]
        all += environment.map { "\($0)=\($1)" }
        let words = "exec '\(product("ipc"))' bench --mechanism pipe --size 64 --count 10 --placement free 2>&1"
        let (status, text) = try Peer("bash", ["-c", words], environment: all).finish(within: .seconds(120))
        #expect(status == .exited(0), "\(text)")
        return text
    }

    private func choose(_ environment: [String: String]) throws -> Tool.Outcome {
        // The pipe is advised.
        try ipc("choose", "--related", "--format", "json", environment: environment)
    }

    @Test func figuresAreKeptForThisUserOnly() throws {
        let home = folder()
        defer { remove(home) }
        _ = try bench(["HOME": home])
        var status = stat()
        #expect(stat(home + "/.cache/swift-ipc/bench", &status) == 0 && status.st_mode & 0o777 == 0o600)
        #expect(try choose(["HOME": home, "XDG_CACHE_HOME": ""]).output.contains("round trip of "))
    }

    @Test func withoutAFolderOfThisUsersNothingIsKept() throws {
        let shared = folder()
        defer { remove(shared) }
        chmod(shared, 0o777)
        mkdir(shared + "/.cache", 0o777)
        #expect(try bench(["HOME": shared]).contains("not saved"))
        // In a folder that others may write to, relative, nowhere.
        for environment in [["HOME": shared], ["HOME": "", "XDG_CACHE_HOME": "cache"], ["HOME": ""]] {
            #expect(try choose(environment).output.contains("\"measured\":null"))
        }
        #expect(access(shared + "/.cache/swift-ipc", F_OK) != 0 && access("/tmp/.cache/swift-ipc", F_OK) != 0)
    }

    @Test(.enabled(if: getuid() == 0, "links of another user are needed")) func anothersLinkIsNotFollowed() throws {
        let home = folder()
        defer { remove(home) }
        let victim = home + "/victim"
        mkdir(victim, 0o700)
        let target = home + "/target"
        try Data("precious".utf8).write(to: URL(filePath: target))
        // In the place of the folder, and of the file.
        let cache = home + "/.cache/swift-ipc"
        for part in [cache, cache + "/bench"] {
            try FileManager.default.createDirectory(
                atPath: (part as NSString).deletingLastPathComponent, withIntermediateDirectories: true,
                attributes: [.posixPermissions: 0o700])
            #expect(symlink(part == cache ? victim : target, part) == 0)
            lchown(part, 65_534, 65_534)
            _ = try bench(["HOME": home])
            #expect(isOrderly(try choose(["HOME": home])))
            #expect(try FileManager.default.contentsOfDirectory(atPath: victim).isEmpty, "\(part)")
            #expect(try String(contentsOfFile: target, encoding: .utf8) == "precious")
            unlink(part)
        }
    }

    @Test func hostileCachesAreNothing() throws {
        let home = folder()
        defer { remove(home) }
        let cache = home + "/.cache/swift-ipc"
        try FileManager.default.createDirectory(
            atPath: cache, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
        let file = cache + "/bench"
        for content in [
            "pipe", "pipe\t", "pipe\t\t\t", "pipe\t\u{1b}[31mred\u{7}\t64", "pipe\t99999999999999999999999\t64",
            "pipe\t-1\t-1\t-1", "pipe\t1\t64\tinf", "\u{0}\u{0}\n\tpipe",
            String(repeating: "pipe\t1\t64\n", count: 20_000),
        ] {
            try Data(content.utf8).write(to: URL(filePath: file))
            let outcome = try choose(["HOME": home])
            #expect(outcome.status == .exited(0) && !outcome.output.utf8.contains(0x1b), "\(outcome.output)")
            #expect(outcome.output.contains("\"measured\":null"))
        }
        // What is no file, or has no end, is not waited for.
        unlink(file)
        mkfifo(file, 0o600)
        #expect(try choose(["HOME": home]).output.contains("\"measured\":null"))
        unlink(file)
        let sparse = open(file, O_RDWR | O_CREAT, 0o600)
        ftruncate(sparse, 1 << 40)
        close(sparse)
        #expect(try choose(["HOME": home]).output.contains("\"measured\":null"))
    }

    // MARK: Recordings

    /// A recording of three messages, with these times.
    private func recording(_ times: [[UInt8]]) throws -> String {
        let path = "/tmp/\(uniqueName())"
        let root = ChannelRoot(FilePath(path))
        let options = ChannelOptions(overflow: .overwrite, lifetime: .kept, capacity: 65_536)
        var messages = try Topic<RawBytes>.openOrCreate("a", in: root, options).makePublisher()
        var others = try Topic<RawBytes>.openOrCreate("a/times", in: root, options).makePublisher()
        for time in times {
            try messages.publish("message".utf8.span.bytes)
            try others.publish(time.span.bytes)
        }
        return path
    }

    private func bytes(_ number: UInt64) -> [UInt8] { (0..<8).map { UInt8(truncatingIfNeeded: number >> (8 * $0)) } }

    private func replay(_ path: String, _ more: String...) throws -> (Tool.Outcome, published: UInt64) {
        let name = "test-\(uniqueName())"
        let run = try Tool(["replay", path, "--prefix", name] + more)
        // Some are due in centuries.
        let isEnded = Readiness.readable
        if try !isEnded.wait(for: run.peer.child.handle.descriptor.rawValue, until: .after(.seconds(3))) {
            try run.peer.child.handle.send(.terminate)
        }
        let outcome = try run.finish()
        let count = (try? ChannelDescription(ChannelName(name + "/a")))?.publishedCount ?? 0
        try? Topic<RawBytes>.remove(name + "/a")
        return (outcome, count)
    }

    @Test func timesThatGoBackwardsAreDueAtOnce() throws {
        let path = try recording([5_000_000_000, 1, 0, .max].map { bytes($0) })
        defer { remove(path) }
        let (outcome, published) = try replay(path)
        // The last is due in centuries.
        #expect(outcome.status == .exited(143) && published == 3, "\(outcome.status) \(outcome.errors)")
        let (fast, all) = try replay(path, "--speed", "0")
        #expect(fast.status == .exited(0) && all == 4)
    }

    @Test(arguments: ["1e-300", "1e300", "5e-324", "0", "1.7976931348623157e308", "nan", "inf", "-1", "1e-10"])
    func noSpeedTraps(speed: String) throws {
        let path = try recording([0, 1 << 40, 1 << 41].map { bytes($0) })
        defer { remove(path) }
        let (outcome, _) = try replay(path, "--speed=\(speed)")
        #expect(isOrderly(outcome) && !outcome.errors.contains("Fatal"), "\(outcome.status) \(outcome.errors)")
    }

    @Test func timesOfAnotherLengthAreNoTimes() throws {
        for time in [[], [1], [UInt8](repeating: 255, count: 9), [UInt8](repeating: 255, count: 1000)] {
            let path = try recording([time])
            defer { remove(path) }
            let (outcome, _) = try replay(path)
            #expect(outcome.status == .exited(1) && outcome.errors.contains("\(time.count) bytes"), "\(outcome.errors)")
        }
    }

    @Test func recordingsWhoseBytesWereChangedAreRefusedOrReplayed() throws {
        var state: UInt64 = 7
        func chance(_ bound: Int) -> Int {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return Int(state >> 33) % bound
        }
        for _ in 0..<30 {
            let path = try recording([0, 1, 2].map { bytes($0) })
            defer { remove(path) }
            let file = path + ["/a/", "/a:times/"][chance(2)] + ["control", "log"][chance(2)]
            let descriptor = open(file, O_RDWR)
            // Where there is something: numbers of the layout, cursors, and the first frames.
            for _ in 0..<1 + chance(20) {
                var value: UInt64 = [0, 1, .max, 1 << 63, UInt64(chance(1 << 20))][chance(5)]
                pwrite(descriptor, &value, [1, 4, 8][chance(3)], off_t(chance(file.hasSuffix("log") ? 512 : 2600)))
            }
            if chance(4) == 0 { ftruncate(descriptor, off_t(chance(70_000))) }
            close(descriptor)
            let (outcome, _) = try replay(path, "--speed", "0", "--timeout", "1")
            #expect(isOrderly(outcome), "\(file): \(outcome.status) \(outcome.errors)")
        }
    }

    @Test func aRecordingThatFailsLeavesNothing() throws {
        let name = channelName()
        let topic = try Topic<UInt64>.openOrCreate(name, ChannelOptions(lifetime: .kept))
        defer { try? Topic<UInt64>.remove(topic.name.description) }
        let path = "/tmp/\(uniqueName())"
        for arguments in [
            [name, "-o", path, "--capacity", "-1"], [name, "-o", path, "--capacity", "1099511627776"],
            [name, name, "-o", path], [name, "none/such", "-o", path], [name, "-o", path, "--count", "0"],
        ] {
            let outcome = try Tool(["record"] + arguments).finish()
            #expect(isOrderly(outcome) && (outcome.status != .exited(0) || arguments.contains("0")), "\(arguments)")
            if outcome.status != .exited(0) {
                #expect(access(path, F_OK) != 0, "\(arguments): \(outcome.errors)")
            } else {
                remove(path)
            }
        }
    }

    // MARK: Memory that others make shorter

    @Test(.enabled(if: getuid() == 0, "another user's objects are needed"))
    func whatAnotherMakesShorterEndsNobody() throws {
        let name = "/" + uniqueName()
        defer { shm_unlink(name) }
        let raw = shm_open(name, O_RDWR | O_CREAT, 0o666)
        defer { close(raw) }
        fchown(raw, 65_534, 65_534)
        ftruncate(raw, 64 << 20)
        let path = "/dev/shm" + name
        // Somebody cuts it, and makes it longer, as fast as that goes.
        let cutter = try Peer(
            "python3",
            [
                "-c",
                "import os\nf=os.open('\(path)',os.O_RDWR)\nprint('on',flush=True)\nwhile 1:\n os.ftruncate(f,0); os.ftruncate(f,64<<20)",
            ])
        _ = try cutter.said()
        for _ in 0..<5 {
            for arguments in [
                ["shm", "read", name, "--count", "1048576"], ["mmap", "read", path, "--count", "1048576"],
            ] {
                let outcome = try Tool(arguments).finish()
                #expect(isOrderly(outcome), "\(arguments): \(outcome.status)")
            }
            let outcome = try ipc(
                "shm", "write", name, "--offset", "1048576", input: String(repeating: "x", count: 50_000))
            #expect(isOrderly(outcome), "\(outcome.status)")
        }
        try cutter.kill()
    }

    @Test func aSemaphoreIsReadAsAFile() throws {
        let name = "/" + uniqueName()
        let path = "/dev/shm/sem." + name.dropFirst()
        defer { unlink(path) }
        #expect(try ipc("sem", "create", name, "--value", "3").status == .exited(0))
        #expect(try ipc("sem", "value", name).output == "3\n")
        #expect(try NamedSemaphore.readValue(name) == NamedSemaphore.open(name).value)
        let listed = try ipc("ls", "sem", "--format", "json").output
        #expect(listed.contains("\"name\":\"\(name)\"") && listed.contains("\"depth\":\"3\""))
        truncate(path, 1)
        #expect(try ipc("sem", "value", name).status == .exited(1))
        #expect(try ipc("ls", "sem").status == .exited(0))
        unlink(path)
        mkfifo(path, 0o600)
        #expect(failure { () throws(IPCError) in _ = try NamedSemaphore.readValue(name) }?.code == .corrupted)
    }
}
