using System.Text.Json;
using Rlhf.Data;
using Rlhf.Runtime.Files;

namespace Rlhf.Studio.Labeling;

/// <summary>
/// Pairs that people label: the journal of what they decide, and the labels for training, which follow from it. Everybody who
/// labels the same pairs in this studio has the same one; several at once are served one after another.
/// </summary>
public sealed class LabelProject
{
    private readonly Lock turn = new();
    private readonly LabelJournal journal;
    private readonly LabelState state;
    private static readonly TimeSpan LongestLook = TimeSpan.FromMinutes(10);
    private readonly Dictionary<string, (string Pair, DateTime Since)> shown = []; // by session
    private int applied;
    private long labelBytes;

    private LabelProject(PairSource source, IReadOnlyList<ResponsePair> pairs, int repeatEvery)
    {
        Source = source;
        journal = new(source.Journal);
        state = new(pairs, repeatEvery);
    }

    /// <summary>Its files.</summary>
    public PairSource Source { get; }

    /// <summary>
    /// Opens the pairs and what was decided about them; writes the labels anew where they are not what the journal says.
    /// </summary>
    /// <param name="source">The files.</param>
    /// <param name="repeatEvery">About one in this many pairs is shown a second time; 0: none.</param>
    /// <exception cref="InvalidDataException">The pairs are damaged, or the files do not belong together.</exception>
    /// <exception cref="IOException">A file cannot be read or written.</exception>
    /// <exception cref="UnauthorizedAccessException">A file may not be read or written.</exception>
    /// <exception cref="ArgumentException">The pairs are in a file of no known form.</exception>
    public static LabelProject Open(PairSource source, int repeatEvery)
    {
        if (new[] { source.Labels, source.Journal }.FirstOrDefault(f => new FileInfo(f).LinkTarget is not null) is { } link)
            throw new InvalidDataException($"{link} is a link, which the studio does not write through.");
        var project = new LabelProject(source, PairFile.Load(source.Pairs), repeatEvery);
        if (project.state.Pairs.Count == 0)
            throw new InvalidDataException($"{source.Pairs} has no pairs.");
        lock (project.turn)
        {
            project.CatchUp();
            if (project.state.Foreign > 0)
                throw new InvalidDataException($"{source.Journal} has {project.state.Foreign:N0} decisions about pairs that are not in "
                    + $"{source.Pairs}. Name another file for these labels with --labels.");
            project.CheckLabels();
            project.WriteLabels();
        }
        return project;
    }

    /// <summary>The pair to show next, which others are not shown meanwhile; null when there is none.</summary>
    /// <param name="labeler">To whom.</param>
    /// <param name="skippedAgain">When nothing else is left, show what was skipped.</param>
    public Presentation? Next(Labeler labeler, bool skippedAgain = false)
    {
        lock (turn)
        {
            CatchUp();
            var others = shown.Where(s => s.Key != labeler.Session && DateTime.UtcNow - s.Value.Since < LongestLook)
                .Select(s => s.Value.Pair).ToHashSet();
            var next = state.Next(labeler.Name, others, skippedAgain);
            Reserve(labeler, next);
            return next;
        }
    }

    /// <summary>Keeps a decision. It is on the disk, and in the labels, when this returns.</summary>
    /// <param name="labeler">Who decided.</param>
    /// <param name="presentation">What was shown.</param>
    /// <param name="verdict">The decision; taking back is <see cref="Undo"/>.</param>
    /// <param name="seconds">Time that it took.</param>
    /// <exception cref="IOException">It cannot be written.</exception>
    /// <exception cref="UnauthorizedAccessException">It may not be written.</exception>
    public void Record(Labeler labeler, Presentation presentation, Verdict verdict, double seconds)
    {
        ArgumentOutOfRangeException.ThrowIfEqual(verdict, Verdict.Undo);
        lock (turn)
            journal.Append(() => new(DateTime.UtcNow, presentation.Pair.Id, verdict, presentation.Swapped, presentation.Repeat,
                labeler.Name, labeler.Session, seconds), _ => Follow());
    }

    /// <summary>Takes back the labeler's last decision, of whatever visit, and shows that pair again; null: there is none.</summary>
    /// <inheritdoc cref="Record" path="/exception"/>
    public Presentation? Undo(Labeler labeler)
    {
        lock (turn)
        {
            Decision? last = null;
            journal.Append(() =>
            {
                Apply();
                last = state.Last(labeler.Name);
                return last is null ? null
                    : last with { Time = DateTime.UtcNow, Verdict = Verdict.Undo, Session = labeler.Session, Seconds = 0 };
            }, _ => Follow());
            var again = last is null ? null : state.Shown(last);
            if (again is not null)
                Reserve(labeler, again);
            return again;
        }
    }

    /// <summary>Others may be shown what this visit was shown.</summary>
    public void Leave(Labeler labeler)
    {
        lock (turn)
            shown.Remove(labeler.Session);
    }

    /// <summary>How things stand.</summary>
    /// <param name="labeler">Whose figures.</param>
    public LabelProgress Progress(Labeler labeler)
    {
        lock (turn)
            return new(state.Pairs.Count, state.Open, state.Labels().Count(), state.Figures(labeler.Name),
                state.Skipped(labeler.Name).Count(), state.Last(labeler.Name) is not null, journal.Unreadable);
    }

    /// <summary>Who labeled so far, the last first.</summary>
    public IReadOnlyList<string> Names()
    {
        lock (turn)
            return [.. state.Standing.Select(d => d.Labeler).Reverse().Distinct()];
    }

    /// <summary>Is the journal still there with all that was read? Else the project is to be opened anew.</summary>
    public bool IsWhole
    {
        get
        {
            lock (turn)
                return journal.IsWhole;
        }
    }

    /// <summary>The model that wrote the answers, or null.</summary>
    public string? Model => state.Pairs[0].Model;

    private void Reserve(Labeler labeler, Presentation? presentation)
    {
        if (presentation is null)
            shown.Remove(labeler.Session);
        else
            shown[labeler.Session] = (presentation.Pair.Id, DateTime.UtcNow);
    }

    private void CatchUp()
    {
        journal.Update();
        Apply();
    }

    private void Apply()
    {
        for (; applied < journal.Decisions.Count; applied++)
            state.Apply(journal.Decisions[applied]);
    }

    // The labels after a decision: one line more in most cases, and else all of them anew.
    private void Follow()
    {
        bool isNext = applied == journal.Decisions.Count - 1;
        Apply();
        var decision = journal.Decisions[^1];
        if (isNext && decision is { Repeat: false, IsChoice: true })
        {
            using var stream = new FileStream(Source.Labels, FileMode.Append, FileAccess.Write, FileShare.Read);
            if (stream.Length == labelBytes)
            {
                PairFile.Write(stream, [state.Label(decision)]);
                stream.Flush(flushToDisk: true);
                labelBytes = stream.Length;
                return;
            }
        }
        else if (isNext && decision.Verdict != Verdict.Undo)
            return;
        WriteLabels();
    }

    private void WriteLabels()
    {
        using var labels = new MemoryStream();
        PairFile.Write(labels, state.Labels());
        var content = labels.GetBuffer().AsSpan(0, (int)labels.Length);
        if (File.Exists(Source.Labels) ? !File.ReadAllBytes(Source.Labels).AsSpan().SequenceEqual(content) : content.Length > 0)
            AtomicFile.Write(Source.Labels, stream => labels.WriteTo(stream));
        labelBytes = labels.Length;
    }

    // What was labeled by other means must not be written over. A half last line is what a crash leaves.
    private void CheckLabels()
    {
        if (!File.Exists(Source.Labels))
            return;
        var known = journal.Decisions.Select(d => d.Pair).ToHashSet();
        RegularFile.Require(Source.Labels);
        string[] lines = File.ReadAllText(Source.Labels).Split('\n');
        if (lines.SkipLast(1).Count(l => IdOf(l) is not { } id || !known.Contains(id)) is var strange and > 0)
            throw new InvalidDataException($"{Source.Labels} has {strange:N0} labels that were not given here: "
                + $"{Path.GetFileName(Source.Journal)} beside it does not know them. Name another file with --labels.");
    }

    private static string? IdOf(string line)
    {
        try
        {
            using var json = JsonDocument.Parse(line);
            return json.RootElement.GetProperty("id").GetString();
        }
        catch (Exception e) when (e is JsonException or KeyNotFoundException or InvalidOperationException)
        {
            return null;
        }
    }
}

/// <summary>How the labeling of some pairs stands.</summary>
/// <param name="Pairs">All pairs.</param>
/// <param name="Open">Those that nobody looked at yet.</param>
/// <param name="Labels">Lines for training.</param>
/// <param name="Own">Figures of one labeler.</param>
/// <param name="Skipped">Pairs that this labeler skipped.</param>
/// <param name="CanUndo">Is there a decision of this labeler to take back?</param>
/// <param name="Unreadable">Lines of the journal that cannot be read.</param>
public sealed record LabelProgress(int Pairs, int Open, int Labels, LabelFigures Own, int Skipped, bool CanUndo, int Unreadable)
{
    /// <summary>The share of pairs that somebody looked at, in [0, 1].</summary>
    public double Share => 1 - (double)Open / Pairs;
}
