// A latest value: a sensor sets a temperature far more often than anybody looks; who looks gets the newest.
import Glibc
import IPC
import IPCChannels

@main
struct LatestValues {
    static func main() throws {
        if CommandLine.arguments.count > 1 {
            var setter = try Latest<Double>.open("example/temperature").makeSetter()
            for step in 0...1_000_000 { try setter.set(20 + Double(step) / 1_000_000) }
            return
        }
        let latest = try Latest<Double>.openOrCreate("example/temperature")
        var getter = try latest.makeGetter()
        let sensor = try ChildProcess("/proc/self/exe", ["sensor"])
        var last = try getter.next(until: .after(.seconds(20)))
        var looks = 0
        while last < 21 {
            let newer = try getter.next(until: .after(.seconds(20)))
            precondition(newer >= last)
            last = newer
            looks += 1
        }
        _ = try sensor.wait()
        print("at last \(last) degrees,", looks < 1_000_000 ? "most values passed over" : "all values seen")
    }
}
