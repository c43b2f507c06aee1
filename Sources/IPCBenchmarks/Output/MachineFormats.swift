/// Figures for other programs: JSON and CSV.
public enum JSONFormat {
    /// An array of objects, one for each figure.
    public static func text(_ result: BenchmarkResult) -> String {
        let objects = result.measurements.map { measurement in
            "  {" + fields(measurement).map { "\"\($0.0)\": \($0.1.json)" }.joined(separator: ", ") + "}"
        }
        return objects.isEmpty ? "[]\n" : "[\n" + objects.joined(separator: ",\n") + "\n]\n"
    }
}

public enum CSVFormat {
    private static let columns = [
        "mechanism", "implementation", "measure", "placement", "payloadBytes", "count", "p50Nanoseconds",
        "p99Nanoseconds", "p999Nanoseconds", "maxNanoseconds", "messagesPerSecond", "bytesPerSecond", "rate",
        "processorNanosecondsPerMessage", "floorP50Nanoseconds", "floorP99Nanoseconds", "floorLoop",
    ]

    /// A header and one line for each figure; what a figure does not have is empty.
    public static func text(_ result: BenchmarkResult) -> String {
        let lines = result.measurements.map { measurement in
            let values = Dictionary(uniqueKeysWithValues: fields(measurement))
            return columns.map { values[$0]?.plain ?? "" }.joined(separator: ",")
        }
        return ([columns.joined(separator: ",")] + lines).joined(separator: "\n") + "\n"
    }
}

/// A value of a field. Strings here are names of ours, without anything that needs an escape.
private enum FieldValue {
    case name(String)
    case integer(Int)
    case number(Double)

    var plain: String {
        switch self {
        case .name(let name): name
        case .integer(let integer): String(integer)
        case .number(let number): Quantity.fixed(number, 1)
        }
    }

    var json: String {
        if case .name(let name) = self { return "\"\(name)\"" }
        return plain
    }
}

private func fields(_ measurement: Measurement) -> [(String, FieldValue)] {
    var fields: [(String, FieldValue)] = [
        ("mechanism", .name(measurement.mechanism.rawValue)),
        ("implementation", .name(measurement.implementation.rawValue)),
        ("measure", .name(measurement.measure.rawValue)),
        ("placement", .name(measurement.placement.rawValue)),
        ("payloadBytes", .integer(measurement.payloadBytes)),
        ("count", .integer(measurement.count)),
    ]
    if let latency = measurement.latency {
        fields += [
            ("p50Nanoseconds", .integer(Int(latency.p50))), ("p99Nanoseconds", .integer(Int(latency.p99))),
            ("p999Nanoseconds", .integer(Int(latency.p999))), ("maxNanoseconds", .integer(Int(latency.max))),
        ]
    }
    if let messages = measurement.messagesPerSecond, let bytes = measurement.bytesPerSecond {
        fields += [("messagesPerSecond", .number(messages)), ("bytesPerSecond", .number(bytes))]
    }
    if let rate = measurement.rate { fields.append(("rate", .integer(rate))) }
    if let time = measurement.processorNanosecondsPerMessage {
        fields.append(("processorNanosecondsPerMessage", .number(time)))
    }
    if let floor = measurement.floor {
        fields += [
            ("floorP50Nanoseconds", .integer(Int(floor.latency.p50))),
            ("floorP99Nanoseconds", .integer(Int(floor.latency.p99))), ("floorLoop", .name(floor.loop.name)),
        ]
    }
    return fields
}
