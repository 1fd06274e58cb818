using System.Diagnostics;
using Rlhf.Runtime.Text;
using Spectre.Console;
using Spectre.Console.Rendering;

namespace Rlhf.Cli.Terminal;

/// <summary>How far a piece of work is: a bar on a terminal, a line now and then elsewhere.</summary>
internal sealed class ProgressDisplay
{
    private static readonly TimeSpan BetweenLines = TimeSpan.FromSeconds(10);
    private readonly Stopwatch watch = Stopwatch.StartNew();
    private readonly Screen screen;
    private readonly string title, unit, sizeUnit;
    private readonly ProgressTask? task;
    private readonly long first;
    private long total;
    private TimeSpan lastLine = -BetweenLines;

    private ProgressDisplay(Screen screen, string title, string unit, long total, ProgressTask? task, long first) =>
        (this.screen, this.title, this.unit, this.total, this.task, this.first, sizeUnit) =
            (screen, title, unit, total, task, first, unit == "MB" ? " MB" : "");

    /// <summary>Shows progress while <paramref name="work"/> runs.</summary>
    /// <param name="screen">Where.</param>
    /// <param name="title">What is being done, one or two words.</param>
    /// <param name="unit">What is counted, in the singular: step; or MB.</param>
    /// <param name="total">How many there are.</param>
    /// <param name="work">The work; it calls <see cref="Report"/>.</param>
    /// <param name="first">How many were done before the work began.</param>
    public static T Run<T>(Screen screen, string title, string unit, long total, Func<ProgressDisplay, T> work, long first = 0)
    {
        if (!screen.IsLive)
            return work(new(screen, title, unit, total, null, first));
        return new Progress(screen.People!) { ExcludeVerticalPadding = true }
            .Columns(
                new TaskDescriptionColumn { Alignment = Justify.Left },
                new ProgressBarColumn
                {
                    Width = 28,
                    CompletedStyle = new(Color.Teal),
                    FinishedStyle = new(Color.Teal),
                    RemainingStyle = new(Color.Grey30),
                },
                new StateColumn())
            .Start(context =>
            {
                var task = context.AddTask(Screen.Safe(title), maxValue: Math.Max(1, total));
                return work(new(screen, title, unit, total, task, first));
            });
    }

    /// <summary>Says how many are done, with numbers worth watching.</summary>
    public void Report(long done, params (string Name, string Value)[] metrics)
    {
        string pace = Pace(done);
        if (task is not null)
        {
            task.Tag = $"[grey]{done}/{total}{sizeUnit}[/]  {pace}  "
                + string.Join("  ", metrics.Select(n => $"[grey]{Screen.Safe(n.Name)}[/] {Screen.Safe(n.Value)}"));
            task.Value = done;
        }
        else if (done == total || watch.Elapsed - lastLine >= BetweenLines)
        {
            lastLine = watch.Elapsed;
            screen.Line($"{Screen.Safe(title)} {done}/{total}{sizeUnit}  {pace}"
                + string.Concat(metrics.Select(n => $"  {Screen.Safe(n.Name)} {Screen.Safe(n.Value)}")));
        }
    }

    /// <summary>As <see cref="Report"/>, when only the work itself finds out how many there are.</summary>
    public void ReportOf(long total, long done, params (string Name, string Value)[] metrics)
    {
        this.total = total;
        if (task is not null)
            task.MaxValue = Math.Max(1, total);
        Report(done, metrics);
    }

    private string Pace(long done)
    {
        double seconds = watch.Elapsed.TotalSeconds;
        if (done <= first || seconds <= 0)
            return "";
        double each = seconds / (done - first);
        string plural = sizeUnit == "" ? unit + "s" : unit;
        string rate = each >= 1 ? Number(each, 1) + $" s/{unit}" : Number(1 / each, 1) + $" {plural}/s";
        return done >= total ? $"{rate}  {Time(watch.Elapsed)}"
            : $"{rate}  {Time(TimeSpan.FromSeconds(each * (total - done)))} left";
    }

    /// <summary>1:05 or 2:03:09.</summary>
    public static string Time(TimeSpan time) => time.TotalHours >= 1
        ? $"{(int)time.TotalHours}:{time.Minutes:00}:{time.Seconds:00}" : $"{time.Minutes}:{time.Seconds:00}";

    /// <summary>A number with so many digits after the point; "–" when it is none.</summary>
    public static string Number(double value, int digits = 2) => Decimals.Text(value, digits);

    private sealed class StateColumn : ProgressColumn
    {
        public override IRenderable Render(RenderOptions options, ProgressTask task, TimeSpan deltaTime) =>
            new Markup(task.Tag as string ?? "[grey]starting …[/]").Overflow(Overflow.Ellipsis);
    }
}
