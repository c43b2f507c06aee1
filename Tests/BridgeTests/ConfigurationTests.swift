#if NATS
    import Foundation
    import IPC
    import IPCChannels
    import Testing

    @testable import IPCBridge

    @Suite(.timeLimit(.minutes(10)))
    struct ConfigurationTests {
        private func read(_ channels: String, _ more: String = "") throws(IPCError) -> BridgeConfiguration {
            try BridgeConfiguration(
                json:
                    #"{"machine": "robot-1", "servers": ["nats://127.0.0.1:4222"], "channels": [\#(channels)]\#(more)}"#
            )
        }

        private func refusal(_ channels: String, _ more: String = "") -> String? {
            do throws(IPCError) { _ = try read(channels, more) } catch { return error.advice }
            return nil
        }

        @Test func allKeysAreRead() throws {
            let configuration = try read(
                """
                {"name": "market/**", "pattern": "topic", "direction": "out", "replicas": 3, "delay": "2ms",
                 "keep": {"bytes": "2GiB", "batches": 1000, "age": "1h"}},
                {"name": "jobs", "pattern": "queue", "acknowledgement-wait": 10, "after": "0.5s"},
                {"name": "old", "start": "2025-11-30T12:00:00.5Z"}, {"name": "loose", "delivery": "best-effort", "delay": 0}
                """, #", "prefix": "lab", "user": "u", "password": "p""#)
            #expect(configuration.machine.name == "robot-1")
            #expect(configuration.prefix == "lab")
            #expect(configuration.servers.user == "u")
            let (topic, queue) = (configuration.rules[0], configuration.rules[1])
            #expect(topic.pattern == .topic && topic.direction == .out && topic.replicas == 3)
            #expect(topic.delay == .milliseconds(2))
            #expect(topic.keep == ChannelRule.Keep(byteCount: 2 << 30, batchCount: 1000, age: .seconds(3600)))
            #expect(queue.acknowledgementWait == .seconds(10) && queue.after == .milliseconds(500))
            #expect(configuration.rules[2].start == .time(1_764_504_000_500_000_000))
            #expect(configuration.rules[3].delivery == .bestEffort && configuration.rules[3].delay == .zero)
        }

        @Test func theFirstRuleThatMatchesDecides() throws {
            let configuration = try read(
                #"{"name": "market/eu", "direction": "in"}, {"name": "market/*", "pattern": "topic", "direction": "out"}"#
            )
            func rule(_ name: String, _ pattern: ChannelPattern = .topic) throws -> ChannelRule.Direction? {
                configuration.rule(for: try ChannelName(name), pattern)?.direction
            }
            #expect(try rule("market/eu") == .in)
            #expect(try rule("market/us") == .out)
            #expect(try rule("market/us", .workQueue) == nil)
            #expect(try rule("bridge/ipc/robot-1/status") == nil)
        }

        @Test(arguments: [
            (#"{"name": "a", "delivery": "maybe"}"#, "channels[0].delivery: expected stored or best-effort"),
            (#"{"name": "a"}, {"name": "b", "directon": "in"}"#, "channels[1].directon: there is no such key"),
            (#"{"pattern": "topic"}"#, "channels[0].name: it is missing"),
            (#"{"name": "a//b"}"#, "channels[0].name: no channel can have a name such as"),
            (#"{"name": "a/b**"}"#, nil), (#"{"name": "../a"}"#, "channels[0].name: "),
            (
                #"{"name": "a", "pattern": "stream"}"#,
                "channels[0].pattern: expected topic, queue, service, latest or event"
            ),
            (
                #"{"name": "a", "replicas": 7}"#,
                "channels[0].replicas: expected a number from 1 to 5, found the number 7"
            ),
            (#"{"name": "a", "delay": "2s"}"#, "channels[0].delay: expected a time from 0 to 1 s"),
            (#"{"name": "a", "delay": "fast"}"#, "channels[0].delay: "),
            (#"{"name": "a", "keep": {"bytes": "1GB"}}"#, "channels[0].keep.bytes: expected a number of bytes"),
            (#"{"name": "a", "keep": {"byte": 1}}"#, "channels[0].keep.byte: there is no such key"),
            (#"{"name": "a", "keep": 5}"#, "channels[0].keep: expected an object, found the number 5"),
            (#"{"name": "a", "pattern": "event", "replicas": 3}"#, "channels[0].replicas: it is for topics, queues"),
            (#"{"name": "a", "pattern": "queue", "delay": 0}"#, "channels[0].delay: it is for topics"),
            (#"{"name": "a", "delivery": "best-effort", "keep": {}}"#, "channels[0].keep: nothing is stored"),
            (
                #"{"name": "a", "direction": "out", "start": "oldest"}"#,
                "channels[0].start: it says where reading starts"
            ),
            (#"{"name": "a", "start": "2026-02-29T12:00:00Z"}"#, "channels[0].start: expected next, oldest or a time"),
            (#"{"name": "a", "pattern": "topic"}, {"name": "a"}"#, nil),
            (#"{"name": "a"}, {"name": "a", "pattern": "topic"}"#, "channels[1].name: it has no effect"),
            (#"{"name": "a"}, {"name": "a"}"#, "channels[1].name: it has no effect: channels[0]"),
            ("5", "channels[0]: expected an object, found the number 5"),
            ("", "channels: expected a list with at least one element, found an empty one"),
            (#"{"name": ""}"#, "channels[0].name: the text is empty"),
            (
                #"{"name": "a", "acknowledgement-wait": 0}"#,
                #"channels[0].acknowledgement-wait: expected a time from 1 s to 24 h, such as 30 or "30s""#
            ),
            (
                #"{"name": "a", "start": "2200-01-01T00:00:00Z"}"#,
                "channels[0].start: the time 2200-01-01T00:00:00Z is in"
            ),
            (#"{"name": "**"}, {"name": "a"}"#, "channels[1].name: it has no effect: channels[0], **, is for the same"),
            (
                #"{"name": "a/*"}, {"name": "**"}, {"name": "b/**", "pattern": "queue"}"#,
                "channels[2].name: it has no effect: channels[1]"
            ),
            (#"{"name": "**", "pattern": "topic"}, {"name": "a"}"#, nil),
            (#"{"name": "**"}, {"name": "jobs/dead-letters"}"#, nil),
            (
                #"{"name": "jobs/*"}, {"name": "jobs/dead-letters", "pattern": "queue"}, {"name": "jobs/dead-letters"}"#,
                nil
            ),
            (#"{"name": "*/dead-letters"}"#, "channels[0].name: it has no effect: dead letters"),
            (#"{"name": "bridge/**"}"#, "channels[0].name: it has no effect: the channels of bridges"),
            (#"{"name": "bridge"}"#, nil),
        ])
        func whatIsWrongIsNamedWithItsPlace(channels: String, expected: String?) {
            let told = refusal(channels)
            guard let expected else { return #expect(told == nil) }
            #expect(told?.hasPrefix(expected) == true, "\(told ?? "accepted")")
        }

        @Test(arguments: [
            (#", "prefix": "a-b""#, "prefix: a prefix has 1 to 32"), (#", "user": "u""#, "password: it is missing"),
            (#", "user": "u", "password": "p", "token": "t""#, "token: a bridge proves who it is in one way"),
            (#", "nkey": "UABC""#, "seed: it is missing"), (#", "nkey": "SUABC""#, "nkey: expected the public key"),
            (
                #", "credentials": "/nowhere/a.creds""#,
                "credentials: the file /nowhere/a.creds cannot be read: No such file"
            ),
            (#", "tls": {"certificate": "/etc/hostname"}"#, "tls.key: it is missing"),
            (#", "tls": {"cert": 1}"#, "tls.cert: "),
            (#", "channel": []"#, "channel: there is no such key"), (#", "user": 5"#, "user: expected a text"),
        ])
        func whatIsWrongWithTheServersIsNamedWithItsPlace(more: String, expected: String) {
            let told = refusal(#"{"name": "a"}"#, more)
            #expect(told?.hasPrefix(expected) == true, "\(told ?? "accepted")")
        }

        @Test(arguments: [
            ("nats://h:4222", nil), ("h", nil), ("tls://[::1]:4222", nil),
            ("nats://u:p@h", "servers[0]: a URL is written to logs"),
            ("http://h", "servers[0]: the URL of a server begins with"), ("nats://h:0", "servers[0]: the port"),
            ("nats://a b", "servers[0]: expected a URL"), ("nats://", "servers[0]: expected a URL"),
        ])
        func urlsAreChecked(url: String, expected: String?) {
            var told: String?
            do throws(IPCError) {
                _ = try BridgeConfiguration(json: #"{"servers": ["\#(url)"], "channels": [{"name": "a"}]}"#)
            } catch { told = error.advice }
            #expect(expected.map { told?.hasPrefix($0) == true } ?? (told == nil), "\(told ?? "accepted")")
        }

        @Test func flagsAreNamedAsFlags() throws {
            let configuration = try BridgeConfiguration(
                flags: [("machine", "m"), ("channel", "market/**"), ("direction", "in"), ("delay", "0")],
                servers: ["nats://h"])
            #expect(configuration.machine.name == "m" && configuration.rules[0].direction == .in)
            #expect(configuration.rules[0].delay == .zero)
            for (flags, place) in [
                ([("channel", "a"), ("direction", "up")], "--direction"), ([("channel", "a//b")], "--channel"),
                ([("machine", "a/b"), ("channel", "a")], "--machine"),
            ] {
                let error = #expect(throws: IPCError.self) {
                    try BridgeConfiguration(flags: flags.map { (key: $0.0, value: $0.1) }, servers: ["nats://h"])
                }
                #expect(error?.resource == place)
            }
            let error = #expect(throws: IPCError.self) {
                try BridgeConfiguration(flags: [("channel", "a")], servers: ["http://h"])
            }
            #expect(error?.resource == "--server")
        }

        @Test(arguments: [
            ("**", "a", true), ("**", "a/b/c", true), ("market/**", "market/quotes", true),
            ("market/**", "market/eu/q", true),
            ("market/**", "market", false), ("market/*", "market/eu/q", false), ("market/q*s", "market/quotes", true),
            ("market/q*s", "market/qs", true), ("market/q*s", "market/quote", false), ("**/quotes", "a/b/quotes", true),
            ("**/quotes", "quotes", false), ("a/**/z", "a/b/c/z", true), ("a/**/z", "a/z", false),
            ("**/b/**", "a/b/b/c", true), ("*a*b*", "xxaxxbxx", true), ("*a*b*", "xxbxxaxx", false), ("a", "a", true),
            ("a", "ab", false), ("*/*", "a/b", true), ("*/*", "a", false), ("a*aab", "aaaab", true),
        ])
        func patternsMatchNames(pattern: String, name: String, matches: Bool) throws {
            #expect(try #require(NamePattern(pattern)).matches(ChannelName(name)) == matches)
        }

        @Test(arguments: [
            ("**", "**", true), ("**", "a/*/c", true), ("a/**", "a/b*/**", true), ("a/*", "a/b*", true),
            ("a/*", "a/*", true), ("*/*", "a/*", true), ("*/**", "**", false), ("*", "**", false),
            ("a/*", "a/**", false),
            ("a/b", "a/*", false), ("a/b*", "a/*b", false), ("**/c", "**/b/c", true), ("**/c", "c", false),
            ("a*", "a", true), ("a*b", "a*c*b", true), ("a*c", "a*", false),
        ])
        func onePatternIncludesAnother(pattern: String, other: String, includes: Bool) throws {
            #expect(try #require(NamePattern(pattern)).includes(#require(NamePattern(other))) == includes)
        }

        @Test func aPatternOfManyStarsTakesNoLongerThanItsLength() throws {
            let pattern = try #require(NamePattern(String(repeating: "*a", count: 60) + "b"))
            #expect(!pattern.matches(try ChannelName(String(repeating: "a", count: 200))))
        }

        @Test func namesOnTheServerAreDistinctAndCanBeReadBack() throws {
            let names = ServerNames(prefix: "ipc")
            let machines = try ["a", "a-b", "a.b", "t-a", "a_b"].map { try #require(Machine($0)) }
            let channels = try ["c", "b-c", "b/c", "b.c", "b/c.d", "b.c/d", "b_c", "B/c"].map { try ChannelName($0) }
            var streams: Set<String> = []
            var keys: Set<String> = []
            for (machine, channel) in machines.flatMap({ machine in channels.map { (machine, $0) } }) {
                let stream = names.stream(.topic, of: machine, channel)
                #expect(stream.utf8.allSatisfy { !" .*>/\\".utf8.contains($0) })
                #expect(streams.insert(stream).inserted, "\(stream)")
                let key = names.directoryKey(.topic, machine, channel)
                #expect(keys.insert(key).inserted, "\(key)")
                let parts = try #require(names.parts(ofDirectoryKey: key))
                #expect(parts.machine == machine && parts.channel == channel && parts.pattern == .topic)
            }
            for key in ["", "1", "1.a", "1.a.", "9.a.b", "1.a.b..c", "1.a.*", "x.a.b"] {
                #expect(names.parts(ofDirectoryKey: key) == nil, "\(key)")
            }
            let long = try ChannelName(String(repeating: "x", count: 199) + "y")
            let other = try ChannelName(String(repeating: "x", count: 199) + "z")
            #expect(names.stream(.topic, of: machines[0], long).utf8.count < 200)
            #expect(names.stream(.topic, of: machines[0], long) != names.stream(.topic, of: machines[0], other))
        }
    }
#endif
