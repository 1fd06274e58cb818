using System.Text.Json;
using Rlhf.Runtime.Files;

namespace Rlhf.Studio.Playground;

/// <summary>Ready beginnings of texts to choose from.</summary>
public sealed class Beginnings(StudioOptions options)
{
    private const int Most = 2000, MostBytes = 4 << 20;
    private readonly Lazy<string[]> all = new(() => Read(options.Queries));

    /// <summary>Some of them; another number, others.</summary>
    public IReadOnlyList<string> Some(int count, int number)
    {
        var random = new Random(number);
        return [.. all.Value.OrderBy(_ => random.Next()).Take(count)];
    }

    private static string[] Read(string? file)
    {
        if (file is null || !RegularFile.Exists(file) || new FileInfo(file).Length > MostBytes)
            return [];
        try
        {
            return [.. File.ReadLines(file).Take(Most).Select(Query).OfType<string>()
                .Where(q => q.Trim().Length > 7 && q.Length < 60 && char.IsLetter(q[0])).Distinct()];
        }
        catch (IOException)
        {
            return [];
        }
    }

    private static string? Query(string line)
    {
        try
        {
            using var json = JsonDocument.Parse(line);
            return json.RootElement.TryGetProperty("query", out var query) ? query.GetString() : null;
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException)
        {
            return null;
        }
    }
}
