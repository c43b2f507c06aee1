import CBaselines
import Foundation
import Glibc
import IPC
@testable import IPCBenchmarks
import SystemPackage
import TestSupport
import Testing

/// `ipc bench` as a user runs it. Figures are not judged here, only that they are there and say what they should.
@Suite(.serialized, .timeLimit(.minutes(15))) struct BenchCommandTests {
    private struct Run {
        let status: IPC.ExitStatus
        let output: String
        let errors: String
    }

    private func bench(_ arguments: String...) throws -> Run {
        let errors = try AnonymousPipe(capacity: 1 << 20)
        let peer = try Peer(product("ipc"), ["bench"] + arguments, descriptors: [2: errors.writer.descriptor])
        let (status, text) = try peer.finish(within: .seconds(110))
        let messages = try errors.closingWriter().readToEnd(until: .after(.seconds(10)))
        return Run(status: status, output: text, errors: String(decoding: messages, as: UTF8.self))
    }

    @Test func everyMechanismIsMeasuredBesideItsTwin() throws {
        let run = try bench(
            "--count", "100", "--size", "64", "--baseline", "--format", "json", "--placement", "free", "--seed", "3")
        #expect(run.status == .exited(0), "\(run.errors)")
        let objects = try #require(JSONSerialization.jsonObject(with: Data(run.output.utf8)) as? [[String: Any]])
        for mechanism in Mechanism.allCases {
            for implementation in mechanism.hasTwin ? ["swift", "c"] : ["swift"] {
                let own = objects.filter {
                    $0["mechanism"] as? String == mechanism.rawValue
                        && $0["implementation"] as? String == implementation
                }
                let latency = try #require(
                    own.first { $0["measure"] as? String == "latency" }, "\(mechanism) \(implementation)")
                for key in [
                    "p50Nanoseconds", "p99Nanoseconds", "p999Nanoseconds", "maxNanoseconds", "count", "payloadBytes",
                ] {
                    #expect((latency[key] as? Int ?? 0) > 0, "\(mechanism) \(key)")
                }
                guard mechanism.hasThroughput else { continue }
                let throughput = try #require(own.first { $0["measure"] as? String == "throughput" })
                #expect((throughput["messagesPerSecond"] as? Double ?? 0) > 0)
                #expect((throughput["bytesPerSecond"] as? Double ?? 0) > 0)
                #expect(throughput["placement"] as? String == "free")
            }
        }
    }

    /// What no mechanism can be faster than is the fastest loop that is known, so none may come below it.
    @Test func whatIsPolledIsHeldToTheCacheLineFloor() throws {
        guard Placement.processors.count > 1 else { return }
        // On a busy machine one side is off its core in the middle of a round.
        var ratios: [String: Double] = [:]
        for _ in 0..<5 where ratios.count < 2 || ratios.values.contains(where: { $0 < 0.95 }) {
            let run = try bench(
                "--baseline", "--mechanism", "event", "--mechanism", "topic", "--size", "64", "--count", "20000",
                "--format", "json")
            #expect(run.status == .exited(0), "\(run.errors)")
            let objects = try #require(JSONSerialization.jsonObject(with: Data(run.output.utf8)) as? [[String: Any]])
            for object in objects where object["measure"] as? String == "latency" {
                let mechanism = try #require(object["mechanism"] as? String)
                let words = try #require(object["floorLoop"] as? String, "\(mechanism)").split(separator: " ")
                #expect(words.count == 4 && words[0].contains("line"), "\(words)")
                let time = try #require(object["p50Nanoseconds"] as? Int)
                let floor = try #require(object["floorP50Nanoseconds"] as? Int)
                #expect(floor > 0 && object["floorP99Nanoseconds"] as? Int ?? 0 >= floor)
                ratios[mechanism] = Double(time) / Double(floor)
            }
        }
        #expect(ratios.count == 2 && ratios.values.allSatisfy { $0 >= 0.95 }, "\(ratios)")
    }

    /// Who polls a line looks at the clock now and then: the other side may have died.
    @Test func aCacheLineThatNobodyAnswersEnds() {
        let lines = UnsafeMutableRawPointer.allocate(byteCount: Int(CB_LINE_BYTES), alignment: 128)
        defer { lines.deallocate() }
        lines.initializeMemory(as: UInt8.self, repeating: 0, count: Int(CB_LINE_BYTES))
        var fastest: CUnsignedInt = 0
        #expect(cb_line_choose(lines, 1_000_000_000, &fastest) == ETIMEDOUT)
    }

    @Test func topicsAreMeasuredFromFewToMany() throws {
        let page = "/tmp/\(uniqueName()).html"
        defer { unlink(page) }
        let run = try bench("--scaling", "--count", "100000", "--report", page)
        #expect(run.status == .exited(0), "\(run.errors)")
        let figures = run.output.split(separator: "\n").filter { $0.contains("M/s") || $0.contains("k/s") }
        #expect(figures.count == ScalingBenchmark.setups.count, "\(run.output)")
        let html = try String(contentsOfFile: page, encoding: .utf8)
        for series in ScalingBenchmark.Series.allCases { #expect(html.contains("<svg id=\"\(series.rawValue)\"")) }
    }

    @Test func theTableAnswersTheGuidesQuestions() throws {
        let run = try bench(
            "--duration", "0.02", "--mechanism", "pipe", "--mechanism", "unix-stream", "--mechanism", "shm-futex",
            "--mechanism",
            "signal", "--size", "64", "--baseline")
        #expect(run.status == .exited(0))
        for text in [
            "Is shared memory the fastest", "Is a pipe faster than a Unix socket", "Is a signal fast", "p50 Swift/C",
            "parent and child", "simple data transfer", "machine limits",
        ] { #expect(run.output.contains(text), "\(text)") }
        #expect(run.errors.contains("measuring pipe 64 B"))
    }

    @Test func oneWayLatencyAtARate() throws {
        let run = try bench(
            "--rate", "1000", "--duration", "0.05", "--mechanism", "pipe", "--mechanism", "eventfd", "--mechanism",
            "udp", "--size", "64", "--format", "csv")
        #expect(run.status == .exited(0), "\(run.errors)")
        let lines = run.output.split(separator: "\n")
        #expect(lines.count == 4)
        #expect(lines.dropFirst().allSatisfy { $0.contains(",latency,") && $0.contains(",1000,") })
    }

    @Test(arguments: [
        ["--mechanism", "telepathy"], ["--size", "7"], ["--size", "-8"], ["--count", "0"], ["--duration", "0"],
        ["--rate", "-1"], ["--log", "0"],
        ["--placement", "moon"], ["--report", "/no/such/folder/x.html"],
    ])
    func badArgumentsAreRefusedInALine(arguments: [String]) throws {
        let errors = try AnonymousPipe()
        let peer = try Peer(product("ipc"), ["bench"] + arguments, descriptors: [2: errors.writer.descriptor])
        let (status, output) = try peer.finish()
        let text = String(decoding: try errors.closingWriter().readToEnd(), as: UTF8.self)
        #expect(status == .exited(64), "\(text)")
        #expect(output.isEmpty && text.contains(arguments[0].dropFirst(2)))
    }

    @Test func whatDoesNotFitIsSaidAndTheRestMeasured() throws {
        let run = try bench(
            "--count", "20", "--mechanism", "udp", "--mechanism", "pipe", "--size", "1048576", "--format", "json")
        #expect(run.status == .exited(0))
        #expect(run.errors.contains("udp at 1048576 B: not measured: does not fit"))
        #expect(run.output.contains("\"pipe\"") && !run.output.contains("\"udp\""))
        let none = try bench("--count", "20", "--mechanism", "udp", "--size", "1048576")
        #expect(none.status == .exited(1))
    }

    @Test func whatTheSystemForbidsIsSaidAndTheRestMeasured() throws {
        let command =
            "exec prlimit --msgqueue=1000 \(product("ipc")) bench --count 20 --size 4096"
            + " --mechanism message-queue --mechanism pipe --format csv 2>&1"
        let peer = try Peer("sh", ["-c", command])
        let (status, text) = try peer.finish()
        #expect(status == .exited(0), "\(text)")
        #expect(text.contains("message-queue at 4096 B: not measured") && text.contains("ulimit -q"), "\(text)")
        #expect(text.contains("pipe,swift,latency"))
    }

    @Test func oneProcessorIsEnough() throws {
        let arguments = [
            "-c", "0", product("ipc"), "bench", "--count", "20", "--mechanism", "shm-spin", "--size", "64",
        ]
        let peer = try Peer("taskset", arguments + ["--format", "csv"])
        let (status, text) = try peer.finish()
        #expect(status == .exited(0) && text.contains("shm-spin,swift,latency,same-core"))
        let refused = try Peer("taskset", arguments + ["--placement", "cross-core"])
        let code = try refused.finish().status
        #expect(code == .exited(64))
    }

    @Test(arguments: [Signal.interrupt, .terminate, .kill])
    func stoppingInTheMiddleLeavesNothing(signal: Signal) throws {
        let errors = try AnonymousPipe()
        let peer = try Peer(
            product("ipc"), ["bench", "--duration", "20", "--mechanism", "shm-semaphore"],
            descriptors: [2: errors.writer.descriptor])
        let reader = errors.closingWriter()
        var seen = ""
        while !seen.contains("shm-semaphore") {
            seen += String(
                decoding: try bytes(capacity: 100) { (buffer) throws(IPCError) in
                    try reader.read(into: &buffer, until: .after(.seconds(20)))
                }, as: UTF8.self)
        }
        try peer.child.handle.send(signal)
        let (status, text) = try peer.finish(within: .seconds(10))
        // Standard error stays open in the workers: its end means that they have gone as well.
        _ = try reader.readToEnd(until: .after(.seconds(10)))
        if signal == .kill {
            #expect(status == .signaled(.kill))
        } else {
            #expect(status == .exited(130))
            #expect(text.contains("Stopped by the user"))
        }
    }

    @Test func theReportOpensInABrowser() throws {
        let folder = "/tmp/" + uniqueName()
        mkdir(folder, 0o700)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let run = try bench("--count", "50", "--size", "64", "--size", "4096", "--report", "\(folder)/report.html")
        #expect(run.status == .exited(0), "\(run.errors)")
        let page = try String(contentsOfFile: "\(folder)/report.html", encoding: .utf8)
        #expect(!page.contains("http://") && !page.contains("https://") && !page.contains("<script"))
        let browser = try Peer(
            "chromium",
            [
                "--headless", "--no-sandbox", "--disable-gpu", "--user-data-dir=\(folder)/profile", "--dump-dom",
                "file://\(folder)/report.html",
            ])
        let (status, dom) = try browser.finish(within: .seconds(60))
        #expect(status == .exited(0))
        // As the browser understood it: both charts, and a row for each figure.
        #expect(dom.contains("<svg id=\"latency\"") && dom.contains("<svg id=\"throughput\""))
        #expect(dom.components(separatedBy: "<circle").count > 14)
        #expect(dom.components(separatedBy: "<tr>").count > 40)
        #expect(dom.contains("shm-futex"))
    }

    /// A clock in steps of 10 ns: a median between two of them is where their counts say.
    @Test(arguments: [(0, 160), (25, 162), (50, 165), (75, 168), (100, 170)])
    func percentilesLieBetweenTheStepsOfTheClock(late: Int, median: UInt64) {
        // What takes 160 ns and a part of a step more is seen as 160 or 170, as often as the part says.
        let samples =
            [UInt64](repeating: 160, count: 1000 - 10 * late) + [UInt64](repeating: 170, count: 10 * late)
            + [150, 160, 170, 180]
        let latency = Measurement.Latency(samples)
        #expect(abs(Int(latency.p50) - Int(median)) <= 1 && latency.max == 180)
        #expect(abs(Int(Measurement.median(samples.shuffled())) - Int(median)) <= 1)
        #expect(Measurement.Latency([7]).p50 == 7 && Measurement.Latency([]).p99 == 0)
        #expect(Measurement.median([7]) == 7 && Measurement.median([]) == 0)
    }

    /// The column "calls" of the table, counted by somebody else.
    @Test(arguments: [
        ("pipe", 2.0), ("unix-stream", 2.0), ("message-queue", 2.0), ("eventfd", 2.0), ("shm-spin", 0.0),
        ("topic", 0.0), ("topic-shared", 0.0),
    ])
    func systemCallsPerMessageAreAsStated(mechanism: String, stated: Double) throws {
        let count = 2000
        // On a busy machine what polls gives its core away now and then.
        var difference = Double.infinity
        for _ in 0..<20 where difference > 0.15 {
            // Two messages for each round trip, and one for each of the stream.
            let perMessage = Double(try transferringCalls(mechanism, count)) / Double(3 * count)
            difference = min(difference, abs(perMessage - stated))
        }
        #expect(difference < 0.15)
    }

    /// A client has a quarter of the log for calls that it has not ended. One that begins more of them than that before it collects any
    /// waits for itself, for ever.
    @Test func streamsOfLargeCallsEnd() throws {
        let run = try bench(
            "--mechanism", "service", "--size", "65536", "--size", "1048576", "--count", "200", "--format", "csv")
        #expect(run.status == .exited(0), "\(run.errors)")
        #expect(run.output.split(separator: "\n").count == 5, "\(run.output)")
    }

    /// A topic's readers that are to look 0 times sleep and are woken: a wait and a wake at least for most round trips, since whoever
    /// answers a writer that is still within its wake (and the tracer makes that long) has nobody to wake.
    @Test func aWakeUpIsMeasuredByReadersThatSleep() throws {
        let count = 500
        // On a busy machine a side that looks late finds its message there, and does not sleep.
        var calls = 0
        for _ in 0..<20 where calls <= count { calls = max(calls, try transferringCalls("topic-wake", count)) }
        #expect(calls > count, "\(calls) calls")
    }

    /// The logs of both directions, and those of the twin, have room for what was asked.
    @Test func logsAreAsLargeAsIsAsked() throws {
        let log = "/tmp/" + uniqueName()
        defer { unlink(log) }
        let peer = try Peer(
            "strace",
            [
                "-f", "-e", "trace=fallocate,ftruncate", "-o", log, product("ipc"), "bench", "--mechanism", "topic",
                "--baseline", "--size", "64", "--count", "20", "--log", "20000000",
            ])
        #expect(try peer.finish(within: .seconds(60)).status == .exited(0))
        let calls = try String(contentsOfFile: log, encoding: .utf8).split(separator: "\n")
        #expect(calls.count { $0.contains(", 33554432)") } == 4, "\(calls)")
    }

    /// How many system calls that transfer or wake `ipc bench` makes for `count` round trips, and `count` messages after.
    private func transferringCalls(_ mechanism: String, _ count: Int) throws -> Int {
        let summary = "/tmp/" + uniqueName()
        defer { unlink(summary) }
        let peer = try Peer(
            "strace",
            [
                "-f", "-c", "-o", summary, product("ipc"), "bench", "--mechanism", mechanism, "--size", "64", "--count",
                "\(count)",
            ])
        let status = try peer.finish(within: .seconds(60)).status
        #expect(status == .exited(0))
        let transfers = ["read", "write", "sendto", "recvfrom", "mq_timedsend", "mq_timedreceive", "futex"]
        var calls = 0
        for line in try String(contentsOfFile: summary, encoding: .utf8).split(separator: "\n") {
            let fields = line.split(separator: " ")
            if let name = fields.last, transfers.contains(String(name)), fields.count > 4 {
                calls += Int(fields[3]) ?? 0
            }
        }
        return calls
    }

    /// The column "copies" of the table, by somebody else: the kernel copies what a system call hands over, once each time.
    @Test(arguments: [
        ("pipe", 2.0), ("fifo", 2.0), ("unix-stream", 2.0), ("unix-datagram", 2.0), ("unix-seqpacket", 2.0),
        ("tcp", 2.0),
        ("udp", 2.0), ("message-queue", 2.0), ("shm-semaphore", 0.0), ("shm-futex", 0.0), ("mapped-file", 0.0),
        ("topic", 0.0),
    ])
    func copiesPerMessageAreAsStated(mechanism: String, stated: Double) throws {
        let (count, size) = (500, 4096)
        let log = "/tmp/" + uniqueName()
        defer { unlink(log) }
        let peer = try Peer(
            "strace",
            [
                "-f", "-e", "trace=read,write,sendto,recvfrom,mq_timedsend,mq_timedreceive", "-s", "0", "-o", log,
                product("ipc"), "bench", "--mechanism", mechanism, "--size", "\(size)", "--count", "\(count)",
            ])
        let status = try peer.finish(within: .seconds(60)).status
        #expect(status == .exited(0))
        var bytes = 0
        for line in try String(contentsOfFile: log, encoding: .utf8).split(separator: "\n") {
            if line.contains("mq_timedsend(") {
                // Says only that it was sent; its third argument is how much.
                bytes += line.contains(", \(size), ") ? size : 0
            } else if let result = line.split(separator: "=").last, let carried = Int(result.drop { $0 == " " }) {
                bytes += max(carried, 0)
            }
        }
        // The coordinator's own talk, and what it reads at its start, is less than a tenth of one.
        let copies = Double(bytes) / Double(3 * count * size)
        #expect(abs(copies - stated) < 0.1, "\(bytes) bytes")
    }
}
