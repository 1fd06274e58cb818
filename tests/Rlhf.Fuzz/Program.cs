using System.Globalization;

namespace Rlhf.Fuzz;

/// <summary>
/// Fuzzes readers: [--targets A,B] [--seconds PER_TARGET] [--executions PER_TARGET] [--seed N] [--out FOLDER] [--plain].
/// </summary>
internal static class Program
{
    public static int Main(string[] args)
    {
        if (args.Contains("--plain"))
            return Fuzz(args);
        var folder = Path.Combine(Path.GetTempPath(), $"rlhf-fuzz-{Environment.ProcessId}");
        try
        {
            var own = new InstrumentedContext(folder).Own;
            return (int)own.GetType(typeof(Program).FullName!)!.GetMethod(nameof(Fuzz))!.Invoke(null, [args])!;
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    /// <summary>Fuzzes with the assemblies that this one is bound to. 0: no findings; 1: findings; 2: no such option.</summary>
    public static int Fuzz(string[] args)
    {
        new Coverage().Begin(); // before any probe is reached
        FuzzTarget.Allocated = () => GC.GetTotalAllocatedBytes();
        string Option(string name, string otherwise) =>
            Array.IndexOf(args, name) is >= 0 and var at && at + 1 < args.Length ? args[at + 1] : otherwise;
        var folder = Option("--out", Path.Combine("artifacts", "fuzz"));
        var options = new FuzzOptions(
            Option("--executions", "") is { Length: > 0 } most ? long.Parse(most, CultureInfo.InvariantCulture) : long.MaxValue,
            double.Parse(Option("--seconds", "60"), CultureInfo.InvariantCulture),
            int.Parse(Option("--seed", "1"), CultureInfo.InvariantCulture), folder);
        using var scratch = new Scratch();
        var wanted = Option("--targets", "").Split(',', StringSplitOptions.RemoveEmptyEntries);
        var targets = AllTargets.Make(scratch);
        if (wanted.FirstOrDefault(name => targets.All(t => t.Name != name)) is { } unknown)
        {
            Console.Error.WriteLine($"There is no target {unknown}; there are {string.Join(", ", targets.Select(t => t.Name))}.");
            return 2;
        }
        using var watchdog = new Watchdog(folder);
        var results = new List<FuzzResult>();
        Console.WriteLine("| target | executions | corpus | edges | per second | findings |");
        Console.WriteLine("| --- | ---: | ---: | ---: | ---: | ---: |");
        foreach (var target in targets.Where(t => wanted.Length == 0 || wanted.Contains(t.Name)))
        {
            var result = new FuzzRun(target, options, new Coverage(), watchdog).Run();
            results.Add(result);
            Console.WriteLine(string.Create(CultureInfo.InvariantCulture,
                $"| {result.Target} | {result.Executions:N0} | {result.Corpus:N0} | {result.Edges:N0} "
                + $"| {result.Executions / result.Seconds:N0} | {result.Findings.Count} |"));
            foreach (var finding in result.Findings)
                Console.WriteLine($"  {finding.Place}");
        }
        Console.WriteLine(FormattableString.Invariant(
            $"{results.Sum(r => r.Executions):N0} executions, {results.Sum(r => r.Findings.Count)} findings"));
        return results.Any(r => r.Findings.Count > 0) ? 1 : 0;
    }
}
