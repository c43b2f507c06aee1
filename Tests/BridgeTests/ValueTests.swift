#if NATS
    import Foundation
    import Glibc
    import IPC
    import IPCChannels
    import TestSupport
    import Testing

    /// Latest values between machines, by real bridges and a real server.
    @Suite(.serialized, .enabled(if: TestNetwork.serverProgram != nil)) struct ValueTests {
        private static let channel = "robot/pose"
        private static let rule = #"{"name": "robot/*", "pattern": "latest"}"#

        private func make(_ network: TestNetwork, _ name: String) throws -> (TestMachine, Latest<UInt64>) {
            let machine = network.machine(name)
            try machine.configure(Self.rule)
            return (machine, try Latest<UInt64>.create(Self.channel, in: machine.root, LatestOptions(writers: .shared)))
        }

        private func waitForValue(_ value: UInt64, _ latest: Latest<UInt64>, _ machine: TestMachine) async throws {
            var getter = try latest.makeGetter()
            try await wait("\(machine.name) has \(value): \(machine.log)") { try getter.get() == value }
        }

        @Test(.timeLimit(.minutes(10))) func theNewestValueOfAllMachinesWinsAlsoAfterABridgeWasAway() async throws {
            let network = try TestNetwork()
            defer { network.end() }
            let ((here, one), (there, other)) = (try make(network, "here"), try make(network, "there"))
            for machine in [here, there] { try machine.startBridge() }
            var setter = try one.makeSetter()
            var setterThere = try other.makeSetter()
            try setter.set(1)
            try await waitForValue(1, other, there)
            try setterThere.set(2)
            try await waitForValue(2, one, here)
            try setter.set(3)
            try await waitForValue(3, other, there)
            here.killBridge()
            // What was set here is older than what is set there now.
            try setterThere.set(4)
            try await Task.sleep(for: .milliseconds(500))
            try here.startBridge()
            try await waitForValue(4, one, here)
            try await Task.sleep(for: .milliseconds(500))
            try await waitForValue(4, other, there)
        }

        @Test(.timeLimit(.minutes(10))) func aValueThatWasSetLaterIsNotOverwrittenWhenItsBridgeGoesOn() async throws {
            let network = try TestNetwork()
            defer { network.end() }
            let ((here, one), (there, other)) = (try make(network, "here"), try make(network, "there"))
            for machine in [here, there] { try machine.startBridge() }
            var setter = try one.makeSetter()
            var setterThere = try other.makeSetter()
            for round in 0..<5 as Range<UInt64> {
                try setter.set(round * 10 + 1)
                try await waitForValue(round * 10 + 1, other, there)
                try here.signalBridge(.stop)
                try setterThere.set(round * 10 + 2)
                try await Task.sleep(for: .milliseconds(300))
                try setter.set(round * 10 + 3)
                try here.signalBridge(.continue)
                try await waitForValue(round * 10 + 3, other, there)
                try await Task.sleep(for: .milliseconds(200))
                for (machine, latest) in [(here, one), (there, other)] {
                    try await waitForValue(round * 10 + 3, latest, machine)
                }
            }
        }

        @Test(.timeLimit(.minutes(10)), arguments: [true, false])
        func ofValuesThatWereSetWithoutAServerTheLaterOneWins(_ isHereFirst: Bool) async throws {
            let network = try TestNetwork()
            defer { network.end() }
            let ((here, one), (there, other)) = (try make(network, "here"), try make(network, "there"))
            for machine in [here, there] { try machine.startBridge() }
            var setters = [Box(try one.makeSetter()), Box(try other.makeSetter())]
            try setters[0].value.set(100)
            try await waitForValue(100, other, there)
            if !isHereFirst { setters.reverse() }
            for round in 0..<4 as Range<UInt64> {
                network.killServer()
                try await Task.sleep(for: .milliseconds(200))
                try setters[0].value.set(round * 10 + 1)
                try await Task.sleep(for: .milliseconds(300))
                try setters[1].value.set(round * 10 + 2)
                try await Task.sleep(for: .milliseconds(100))
                try network.startServer()
                for (machine, latest) in [(here, one), (there, other)] {
                    try await waitForValue(round * 10 + 2, latest, machine)
                }
                try await Task.sleep(for: .milliseconds(500))
                for (machine, latest) in [(here, one), (there, other)] {
                    var getter = try latest.makeGetter()
                    #expect(try getter.get() == round * 10 + 2, "\(machine.name): \(machine.log)")
                }
            }
        }

        @Test(.timeLimit(.minutes(10)), arguments: [true, false])
        func valuesGoOnAtAServerWithAnotherStore(_ isAnotherServer: Bool) async throws {
            let network = try TestNetwork()
            defer { network.end() }
            let empty = try TestNetwork()
            defer { empty.end() }
            let ((here, one), (there, other)) = (try make(network, "here"), try make(network, "there"))
            for machine in [here, there] { try machine.startBridge() }
            var setter = try one.makeSetter()
            var setterThere = try other.makeSetter()
            for number in 1...20 as ClosedRange<UInt64> {
                try setter.set(number)
                try await waitForValue(number, other, there)
            }
            if isAnotherServer {
                for machine in [here, there] {
                    try machine.configure(Self.rule, at: empty)
                    try machine.signalBridge(.hangUp)
                }
            } else {
                network.killServer()
                try FileManager.default.removeItem(atPath: network.folder + "/jetstream")
                try network.startServer()
            }
            // It is stored there without being set again.
            let (late, third) = try make(network, "late")
            try late.configure(Self.rule, at: isAnotherServer ? empty : network)
            try late.startBridge()
            try await waitForValue(20, third, late)
            for number in 21...25 as ClosedRange<UInt64> {
                try setter.set(number)
                try await waitForValue(number, other, there)
            }
            try setterThere.set(26)
            for (machine, latest) in [(here, one), (late, third)] { try await waitForValue(26, latest, machine) }
        }

        @Test(.timeLimit(.minutes(10))) func aValueThatIsTooLargeForTheServerHoldsNoLaterOneUp() async throws {
            let network = try TestNetwork()
            defer { network.end() }
            let all = try ["here", "there"].map { name in
                let machine = network.machine(name)
                try machine.configure(Self.rule)
                return (
                    machine,
                    try Latest<RawBytes>.create(
                        Self.channel, in: machine.root, LatestOptions(writers: .shared, capacity: 1 << 23))
                )
            }
            for (machine, _) in all { try machine.startBridge() }
            var setter = try all[0].1.makeSetter()
            var getter = try all[1].1.makeGetter()
            func size() throws -> Int { try getter.get { $0.byteCount } ?? 0 }
            for count in [1, 3 << 20, 2, 3] {
                try setter.set([UInt8](repeating: 7, count: count).span.bytes)
                if count > 1 << 20 {
                    try await wait("it is told; \(all[0].0.log)") {
                        try all[0].0.carriers().contains { $0["state"] == .string("refused") }
                    }
                    #expect(try size() == 1)
                } else {
                    try await wait("\(count) arrives; \(all[0].0.log)") { try size() == count }
                }
            }
            #expect(all[0].0.log.split(separator: "\n").count { $0.contains("max_payload") } == 1, "\(all[0].0.log)")
            try await wait("it carries") { try all[0].0.carriers().allSatisfy { $0["state"] == .string("carrying") } }
        }

        @Test(.timeLimit(.minutes(10))) func machinesThatSetAtTheSameTimeEndWithOneValue() async throws {
            let network = try TestNetwork()
            defer { network.end() }
            let all = try ["one", "two", "three"].map { try make(network, $0) }
            for (machine, _) in all { try machine.startBridge() }
            try await withThrowingTaskGroup(of: Void.self) { group in
                for (index, (_, latest)) in all.enumerated() {
                    group.addTask {
                        var setter = try latest.makeSetter()
                        for number in 0..<300 {
                            try setter.set(UInt64(index * 1000 + number))
                            try await Task.sleep(for: .milliseconds(7 + index))
                        }
                    }
                }
                try await group.waitForAll()
            }
            let getters = try all.map { Box(try $0.1.makeGetter()) }
            var values = [UInt64](repeating: .max, count: all.count)
            var unchanged = 0
            try await wait("all have one value: \(values)") {
                unchanged += 1
                for (index, getter) in getters.enumerated() {
                    guard let value = try getter.value.get(), value != values[index] else { continue }
                    (values[index], unchanged) = (value, 0)
                }
                return unchanged == 50 && Set(values).count == 1
            }
        }
    }
#endif
