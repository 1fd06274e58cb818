using System.Diagnostics;
using System.Security.Cryptography;

namespace Rlhf.Fuzz;

/// <summary>How long and where a target is fuzzed.</summary>
/// <param name="Executions">Most inputs.</param>
/// <param name="Seconds">Most seconds.</param>
/// <param name="Seed">Of the random numbers: the same seed and corpus give the same inputs.</param>
/// <param name="Folder">Where findings and the corpus are kept; null keeps nothing.</param>
internal sealed record FuzzOptions(long Executions, double Seconds, int Seed, string? Folder);

/// <summary>An input that a reader did not survive as it should.</summary>
internal sealed record Finding(byte[] Input, Exception Error, string Place);

/// <summary>What came of fuzzing one target.</summary>
internal sealed record FuzzResult(
    string Target, long Executions, int Corpus, int Edges, double Seconds, IReadOnlyList<Finding> Findings);

/// <summary>Fuzzes one target: inputs that reach new branches join the corpus, from which further inputs are made.</summary>
internal sealed class FuzzRun(FuzzTarget target, FuzzOptions options, Coverage coverage, Watchdog? watchdog = null)
{
    private const int MostFindings = 50;
    private readonly List<byte[]> corpus = [];
    private readonly Dictionary<string, Finding> findings = [];
    private long executions;

    public FuzzResult Run()
    {
        var clock = Stopwatch.StartNew();
        foreach (var seed in target.Seeds.Concat(Kept()))
            if (Execute(seed) || corpus.Count == 0)
                corpus.Add(seed);
        var random = new Random(options.Seed);
        var mutator = new Mutator(random, target.Tokens, target.MaxLength);
        while (executions < options.Executions && findings.Count < MostFindings
            && (executions % 64 != 0 || clock.Elapsed.TotalSeconds < options.Seconds))
        {
            var input = mutator.Mutate(Pick(random), corpus[random.Next(corpus.Count)]);
            if (!Execute(input))
                continue;
            corpus.Add(input);
            Keep("corpus", input, null);
        }
        return new(target.Name, executions, corpus.Count, coverage.Edges, clock.Elapsed.TotalSeconds, [.. findings.Values]);
    }

    /// <summary>Half of the time one of the latest, which open new ground more often.</summary>
    private byte[] Pick(Random random) => random.Next(2) == 0
        ? corpus[random.Next(corpus.Count)] : corpus[^(1 + random.Next(Math.Min(corpus.Count, 40)))];

    /// <summary>True when the input reached something new.</summary>
    private bool Execute(byte[] input)
    {
        executions++;
        watchdog?.Begin(target.Name, input);
        coverage.Begin();
        var error = target.Try(input);
        bool isNew = coverage.End();
        watchdog?.End();
        if (error is not null && Place(error) is var place && findings.TryAdd(place, new(input, error, place)))
            Keep("findings", input, $"{place}\n\n{error}\n");
        return isNew && error is null;
    }

    /// <summary>The same place is the same finding.</summary>
    private static string Place(Exception error)
    {
        var trace = new StackTrace(error.InnerException ?? error);
        var frame = trace.GetFrames().Select(f => f.GetMethod()).FirstOrDefault(
            m => m?.DeclaringType?.FullName?.StartsWith("Rlhf.", StringComparison.Ordinal) == true);
        var what = error is WrongResultException
            ? new string([.. error.Message.TakeWhile(c => c != ':' && !char.IsDigit(c))]) : "";
        return $"{error.GetType().Name} {what} in {frame?.DeclaringType?.Name}.{frame?.Name}";
    }

    private IEnumerable<byte[]> Kept() => options.Folder is { } folder && Path.Combine(folder, "corpus", target.Name) is var path
        && Directory.Exists(path) ? Directory.GetFiles(path).Order(StringComparer.Ordinal).Select(File.ReadAllBytes) : [];

    private void Keep(string kind, byte[] input, string? report)
    {
        if (options.Folder is null)
            return;
        var folder = Directory.CreateDirectory(Path.Combine(options.Folder, kind, target.Name)).FullName;
        var name = Path.Combine(folder, Convert.ToHexStringLower(SHA256.HashData(input).AsSpan(0, 8)));
        File.WriteAllBytes(name, input);
        if (report is not null)
            File.WriteAllText(name + ".txt", report);
    }
}
