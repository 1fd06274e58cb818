using System.Reflection;
using System.Text.Json;

namespace Rlhf.Serving;

/// <summary>What is wrong with a field of a request.</summary>
/// <param name="Field">The field, as clients write it.</param>
/// <param name="Message">In a sentence.</param>
internal sealed record FieldProblem(string Field, string Message);

/// <summary>A request that cannot be answered as it is; the message says everything that is wrong with it.</summary>
internal sealed class RequestException(string message, string? field = null) : Exception(message)
{
    /// <summary>The first field with a problem; null where it is the whole body.</summary>
    public string? Field { get; } = field;

    /// <summary>The status of the answer.</summary>
    public int Status { get; init; } = 400;

    /// <summary>A word for programs, or null.</summary>
    public string? Code { get; init; }

    /// <summary>When asking again may help, or null.</summary>
    public TimeSpan? RetryAfter { get; init; }

    /// <summary>Throws where there is a problem.</summary>
    public static void ThrowIfAny(IReadOnlyList<FieldProblem> problems)
    {
        if (problems.Count > 0)
            throw new RequestException(string.Join(" ", problems.Select(p => p.Message)), problems[0].Field);
    }

    /// <summary>What the JSON reader found, in the words of the request.</summary>
    /// <param name="error">What it found.</param>
    /// <param name="request">The type of the request.</param>
    /// <param name="example">A body that works.</param>
    public static RequestException Of(JsonException error, Type request, string example)
    {
        string field = error.Path is { } path && path.StartsWith("$.", StringComparison.Ordinal) ? path[2..].Split('.', '[')[0] : "";
        var known = request.GetProperties(BindingFlags.Public | BindingFlags.Instance)
            .FirstOrDefault(p => ApiErrors.Json.PropertyNamingPolicy!.ConvertName(p.Name) == field);
        if (known is not null && Wanted(Nullable.GetUnderlyingType(known.PropertyType) ?? known.PropertyType) is { } wanted)
            return new($"{field} must be {wanted}.", field);
        string where = error.LineNumber is { } line && error.BytePositionInLine is { } column
            ? $" (line {line + 1}, byte {column + 1})" : "";
        return new($"The body is no JSON object of such a request{where}; send one such as {example}.");
    }

    /// <summary>What a field of a type must be, or null for one that may be anything in JSON.</summary>
    private static string? Wanted(Type type) =>
        type == typeof(string) ? "a text"
        : type == typeof(int) || type == typeof(long) ? "a whole number"
        : type == typeof(double) ? "a number"
        : type == typeof(bool) ? "true or false"
        : type == typeof(SamplingRequest.StreamingOptions) ? "an object such as {\"include_usage\": true}"
        : null;
}
