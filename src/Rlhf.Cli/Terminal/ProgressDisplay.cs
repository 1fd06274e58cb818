using System.Diagnostics;
using Rlhf.Runtime.Text;

namespace Rlhf.Cli.Terminal;

/// <summary>How far a piece of work is: a bar on a terminal, a line now and then elsewhere.</summary>
internal sealed class ProgressDisplay
{
    private static readonly TimeSpan BetweenLines = TimeSpan.FromSeconds(10), BetweenFrames = TimeSpan.FromMilliseconds(100);

    // Room for the ^C that a terminal writes where the cursor stands.
    private const int Margin = 2;
    private readonly Stopwatch watch = Stopwatch.StartNew();
    private readonly Screen screen;
    private readonly string title, unit, sizeUnit;
    private readonly long first;
    private long total;
    private TimeSpan lastShown = -BetweenLines;
    private ProgressLine? pending;

    private ProgressDisplay(Screen screen, string title, string unit, long total, long first) =>
        (this.screen, this.title, this.unit, this.total, this.first, sizeUnit) =
            (screen, title, unit, total, first, unit == "MB" ? " MB" : "");

    /// <summary>Shows progress while <paramref name="work"/> runs.</summary>
    /// <param name="screen">Where.</param>
    /// <param name="title">What is being done, one or two words.</param>
    /// <param name="unit">What is counted, in the singular: step; or MB.</param>
    /// <param name="total">How many there are.</param>
    /// <param name="work">The work; it calls <see cref="Report"/>.</param>
    /// <param name="first">How many were done before the work began.</param>
    public static T Run<T>(Screen screen, string title, string unit, long total, Func<ProgressDisplay, T> work, long first = 0)
    {
        var display = new ProgressDisplay(screen, title, unit, total, first);
        if (!screen.IsLive)
            return work(display);
        screen.Status(new ProgressLine(title, "starting …", 0, "", "", []), Margin);
        try
        {
            return work(display);
        }
        finally
        {
            if (display.pending is { } last)
                screen.Status(last, Margin);
            StatusLine.OfProcess.End();
        }
    }

    /// <summary>Says how many are done, with numbers worth watching.</summary>
    public void Report(long done, params (string Name, string Value)[] metrics)
    {
        var (rate, left) = Pace(done);
        var line = new ProgressLine(title, $"{done}/{total}{sizeUnit}", total == 0 ? 1 : (double)done / total, left, rate, metrics);
        bool isDue = done == total || watch.Elapsed - lastShown >= (screen.IsLive ? BetweenFrames : BetweenLines);
        pending = isDue ? null : line;
        if (!isDue)
            return;
        lastShown = watch.Elapsed;
        if (screen.IsLive)
            screen.Status(line, Margin);
        else
            screen.Line(line.ToMarkup(screen.Width, withBar: false));
    }

    /// <summary>As <see cref="Report"/>, when only the work itself finds out how many there are.</summary>
    public void ReportOf(long total, long done, params (string Name, string Value)[] metrics)
    {
        this.total = total;
        Report(done, metrics);
    }

    private (string Rate, string Left) Pace(long done)
    {
        double seconds = watch.Elapsed.TotalSeconds;
        if (done <= first || seconds <= 0)
            return ("", "");
        double each = seconds / (done - first);
        string plural = sizeUnit == "" ? unit + "s" : unit;
        string rate = each >= 1 ? Number(each, 1) + $" s/{unit}" : Number(1 / each, 1) + $" {plural}/s";
        return (rate, done >= total ? Time(watch.Elapsed) : $"{Time(TimeSpan.FromSeconds(each * (total - done)))} left");
    }

    /// <summary>1:05 or 2:03:09.</summary>
    public static string Time(TimeSpan time) => time.TotalHours >= 1
        ? $"{(int)time.TotalHours}:{time.Minutes:00}:{time.Seconds:00}" : $"{time.Minutes}:{time.Seconds:00}";

    /// <summary>A number with this many digits after the point; "–" when it is none.</summary>
    public static string Number(double value, int digits = 2) => Decimals.Text(value, digits);

    /// <summary>A share of 1 in percent.</summary>
    public static string Percent(double share) => Number(100 * share, 1) + " %";
}
