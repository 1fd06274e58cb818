using System.Diagnostics;
using System.Globalization;

namespace Rlhf.Runtime.Native;

/// <summary>How long the processors that this process may use have been busy, and how long with this process, up to a moment.</summary>
/// <param name="Processors">Processors that this process may run on.</param>
/// <param name="Busy">Seconds that those were busy, all together.</param>
/// <param name="Own">Seconds of them that were this process's.</param>
/// <param name="Moment">When, by the monotonic clock.</param>
internal readonly record struct ProcessorUse(int Processors, double Busy, double Own, long Moment)
{
    /// <summary>The kernel's unit in /proc/stat, for programs, is 1/100 s on every Linux.</summary>
    private const double Tick = 0.01;

    /// <summary>Reads Linux's figures; null where they cannot be read.</summary>
    public static ProcessorUse? Read()
    {
        try
        {
            string allowed = File.ReadLines("/proc/self/status").First(line => line.StartsWith("Cpus_allowed_list:", StringComparison.Ordinal));
            var processors = ReadList(allowed[(allowed.IndexOf(':') + 1)..]);
            return Read(File.ReadLines("/proc/stat"), processors, Environment.CpuUsage.TotalTime.TotalSeconds, Stopwatch.GetTimestamp());
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or FormatException or InvalidOperationException or OverflowException)
        {
            return null;
        }
    }

    /// <summary>What the lines of /proc/stat say of some processors.</summary>
    internal static ProcessorUse Read(IEnumerable<string> stat, IReadOnlySet<int> processors, double own, long moment)
    {
        double busy = 0;
        int found = 0;
        foreach (string line in stat.TakeWhile(line => line.StartsWith("cpu", StringComparison.Ordinal)))
        {
            string[] fields = line.Split(' ', StringSplitOptions.RemoveEmptyEntries);
            if (fields[0].Length == 3 || !processors.Contains(int.Parse(fields[0].AsSpan(3), CultureInfo.InvariantCulture)))
                continue;
            found++;
            // user, nice, system, idle, iowait, irq, softirq, steal; what follows is counted within user already.
            busy += fields.Skip(1).Take(8).Where((_, i) => i is not (3 or 4)).Sum(field => double.Parse(field, CultureInfo.InvariantCulture)) * Tick;
        }
        return new ProcessorUse(found, busy, own, moment);
    }

    /// <summary>Processors that other programs used on average since an earlier moment, such as 0.8.</summary>
    public double OthersSince(ProcessorUse before) => Math.Max(0, (Busy - before.Busy - (Own - before.Own))
        / Math.Max(1e-3, Stopwatch.GetElapsedTime(before.Moment, Moment).TotalSeconds));

    /// <summary>Numbers as the kernel lists them: 0-3,8.</summary>
    internal static HashSet<int> ReadList(string text)
    {
        HashSet<int> all = [];
        foreach (string range in text.Trim().Split(',', StringSplitOptions.RemoveEmptyEntries))
        {
            string[] ends = range.Split('-');
            int first = int.Parse(ends[0], CultureInfo.InvariantCulture), last = int.Parse(ends[^1], CultureInfo.InvariantCulture);
            all.UnionWith(Enumerable.Range(first, Math.Min(last - first + 1, 1 << 16)));
        }
        return all;
    }
}
