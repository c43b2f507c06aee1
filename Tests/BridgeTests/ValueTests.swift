#if NATS
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

    private final class Box<Value: ~Copyable> {
        var value: Value
        init(_ value: consuming Value) { self.value = value }
    }
#endif
