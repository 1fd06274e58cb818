using System.Globalization;
using System.Text;

namespace Rlhf.Serving;

/// <summary>How often measured times fell below bounds, as Prometheus keeps it.</summary>
/// <param name="bounds">The bounds in seconds, rising.</param>
internal sealed class Histogram(params double[] bounds)
{
    private readonly Lock gate = new();
    private readonly long[] counts = new long[bounds.Length + 1];
    private double sum;

    /// <summary>Counts a time.</summary>
    public void Add(TimeSpan time)
    {
        double seconds = time.TotalSeconds;
        int bucket = Array.FindIndex(bounds, bound => seconds <= bound);
        lock (gate)
        {
            counts[bucket < 0 ? bounds.Length : bucket]++;
            sum += seconds;
        }
    }

    /// <summary>Writes it in Prometheus's text format.</summary>
    /// <param name="text">Where to.</param>
    /// <param name="name">The metric's name.</param>
    /// <param name="label">Its label, as it is written.</param>
    public void Write(StringBuilder text, string name, string label)
    {
        lock (gate)
        {
            long total = 0;
            for (int i = 0; i <= bounds.Length; i++)
            {
                total += counts[i];
                string bound = i < bounds.Length ? bounds[i].ToString(CultureInfo.InvariantCulture) : "+Inf";
                text.Append(CultureInfo.InvariantCulture, $"{name}_bucket{{{label},le=\"{bound}\"}} {total}\n");
            }
            text.Append(CultureInfo.InvariantCulture, $"{name}_sum{{{label}}} {sum:R}\n{name}_count{{{label}}} {total}\n");
        }
    }
}
