using System.Globalization;
using Rlhf.Cli.Terminal;
using Rlhf.Cli.Verbs;

namespace Rlhf.Cli.Benchmarks;

/// <summary>What <see cref="PartsBenchmark"/> measured, for people and for programs.</summary>
internal static class PartsReport
{
    /// <summary>The settings and all numbers on one level.</summary>
    public static IReadOnlyDictionary<string, object> Json(BenchFlags options, PartsBenchmarkResult result) => new Dictionary<string, object>
    {
        ["model"] = options.Model,
        ["parts"] = result.Parts.Select(p => p.Part.Name).ToArray(),
        ["rows"] = options.Rows,
        ["length"] = options.Length,
        ["answer"] = options.Answer,
        ["epochs"] = options.Epochs,
        ["steps"] = options.Steps,
        ["threads"] = TorchSharp.torch.get_num_threads(),
    }.Concat(result.Numbers()).ToDictionary();

    /// <summary>A row for each part.</summary>
    public static ResultTable Table(PartsBenchmarkResult result)
    {
        static string Number(double? value, string format) => value?.ToString(format, CultureInfo.InvariantCulture) ?? "";
        static string Percent(double? value) => value is { } share ? Number(100 * share, "F0") + " %" : "";
        var table = new ResultTable("part")
        {
            Caption = $"2048³ float32 product: {Number(result.MatmulGflops, "F0")} GFLOP/s, the models' own "
                + $"{Number(result.FastestMatmulGflops, "F0")}; memory: {Number(result.MemoryGigabytesPerSecond, "F1")} GB/s\n"
                + string.Join("\n", result.Parts.Select(p => $"{p.Part.Name}: {p.Part.Description}")),
        };
        table.Number("seconds").Number("tokens/s").Number("GFLOP").Number("of fastest product").Number("of memory rate").Number("MiB at most");
        foreach (var part in result.Parts)
            table.AddRow(part.Part.Name, Number(part.Seconds, "F2"), Number(part.Tokens / part.Seconds, "N0"), Number(part.Gflop, "N0"),
                Percent(part.FractionOfFastest), Percent(part.FractionOfMemoryRate), Number(part.PeakMemoryMib, "N0"));
        return table;
    }
}
