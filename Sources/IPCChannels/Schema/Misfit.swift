/// Why a part of a message is no value, and where it is. The place is put together on the way out: one that all goes well with costs
/// nothing, however long the names of a schema are.
struct Misfit: Error {
    /// What it is about if it is no part: the message.
    let whole: String
    let reason: String
    var isLimit = false
    /// The fields that it is in, the innermost first.
    private var places: [String] = []

    init(_ whole: String, _ reason: String) {
        self.whole = whole
        self.reason = reason
    }

    /// What was read of a message, or of its bytes.
    static func tooLarge(_ limit: Int) -> Misfit {
        var misfit = Misfit(
            "it",
            "would take more than \(limit) bytes as JSON, since its schema has many parts without bytes, or long names")
        misfit.isLimit = true
        return misfit
    }

    consuming func inside(_ place: String?) -> Misfit {
        if let place, !isLimit { places.append(place) }
        return self
    }

    var error: JSONError {
        var path = ""
        for place in places.reversed() { path += path.isEmpty || place.hasPrefix("[") ? place : "." + place }
        var error = JSONError("\(path.isEmpty ? whole : path) \(reason)")
        error.isLimit = isLimit
        return error
    }

    /// Does what is in a place.
    static func inside<Value>(
        _ place: @autoclosure () -> String, _ body: () throws(Misfit) -> Value
    ) throws(Misfit) -> Value {
        do throws(Misfit) { return try body() } catch { throw error.inside(place()) }
    }
}
