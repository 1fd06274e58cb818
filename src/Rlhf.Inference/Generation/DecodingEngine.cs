using Rlhf.Models;
using Rlhf.Runtime;

namespace Rlhf.Generation;

/// <summary>
/// Writes the texts of many callers with one model, all in one <see cref="DecodingBatch"/>: a row joins between two steps, when there is room for
/// it, and leaves when it is whole or nobody wants it. First come, first served.
/// </summary>
/// <remarks>
/// One thread computes, as libtorch keeps much for each; it ends when there is nothing to do for a while and begins again when there is. Between
/// texts no memory is held.
/// </remarks>
internal sealed class DecodingEngine : IDisposable
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(10);

    private readonly CausalLM model;
    private readonly BatchingOptions options;
    private readonly IDecodingWatch? watch;
    private readonly long tokenBytes;
    private readonly object gate = new();
    private readonly LinkedList<DecodingTicket> waiting = [];
    private readonly Queue<(Action Run, Action Abandon)> jobs = [];
    private Thread? thread;
    private double secondsPerRow;
    private int running;
    private bool isDisposed;

    /// <param name="model">The model, which stays the caller's and has to outlive the engine.</param>
    /// <param name="options">How many rows at once.</param>
    /// <param name="watch">Is told of tokens; null: nobody is.</param>
    /// <exception cref="ConfigurationException">The options are impossible.</exception>
    public DecodingEngine(CausalLM model, BatchingOptions options, IDecodingWatch? watch = null)
    {
        ConfigurationException.ThrowIfAny([.. options.Validate()]);
        (this.model, this.options, this.watch) = (model, options, watch);
        tokenBytes = model.Shape.CacheBytesPerToken(model.Head.Layer.Weight.ElementSize);
    }

    /// <summary>Most rows that can be queued together.</summary>
    public long MostRows => (long)options.MaxRows + options.MaxWaiting;

    /// <summary>Rows that are being written.</summary>
    public int Running => Volatile.Read(ref running);

    /// <summary>Rows that wait for a place.</summary>
    public int Waiting
    {
        get
        {
            lock (gate)
                return waiting.Count;
        }
    }

    /// <summary>Queues rows, all or none.</summary>
    /// <exception cref="ArgumentException">There are more rows than may be written and wait, whatever else there is.</exception>
    /// <exception cref="TooManyWaitingException">So many wait that these would be too many.</exception>
    public DecodingTicket[] Add(IReadOnlyList<ResponseRow> rows)
    {
        if (rows.Count > MostRows)
            throw new ArgumentException($"{rows.Count} texts are asked for at once; at most {options.MaxRows} are written and {options.MaxWaiting} wait at a time.");
        DecodingTicket[] tickets = [.. rows.Select(row => new DecodingTicket(row))];
        lock (gate)
        {
            ObjectDisposedException.ThrowIf(isDisposed, this);
            long free = Math.Max(0, options.MaxRows - Volatile.Read(ref running));
            if (waiting.Count + rows.Count - free > options.MaxWaiting)
                throw new TooManyWaitingException($"{running} texts are being written and {waiting.Count} are waiting; at most "
                    + $"{options.MaxRows} are written and {options.MaxWaiting} wait at a time. Ask again later.",
                    TimeSpan.FromSeconds(Math.Clamp(Math.Ceiling(secondsPerRow * (waiting.Count + 1) / options.MaxRows), 1, 60)));
            foreach (var ticket in tickets)
                waiting.AddLast(ticket);
            Wake();
        }
        return tickets;
    }

    /// <summary>Computes something else with the model, between two steps.</summary>
    public Task<T> RunAsync<T>(Func<T> work)
    {
        var done = new TaskCompletionSource<T>(TaskCreationOptions.RunContinuationsAsynchronously);
        lock (gate)
        {
            ObjectDisposedException.ThrowIf(isDisposed, this);
            jobs.Enqueue((Run, () => done.SetException(Gone())));
            Wake();
        }
        return done.Task;

        void Run()
        {
            try
            {
                done.SetResult(work());
            }
            catch (Exception e)
            {
                done.SetException(e);
            }
        }
    }

    /// <summary>Ends after the step that is being computed; rows that are not whole fail with <see cref="ObjectDisposedException"/>.</summary>
    public void Dispose()
    {
        Thread? computing;
        lock (gate)
        {
            isDisposed = true;
            computing = thread;
            Monitor.PulseAll(gate);
        }
        computing?.Join();
    }

    private void Wake()
    {
        if (thread is null)
        {
            thread = new Thread(Compute) { IsBackground = true, Name = "Rlhf generation" };
            thread.Start();
        }
        else
            Monitor.PulseAll(gate);
    }

    private void Compute()
    {
        using var batch = new DecodingBatch(model) { FailsAlone = true, CacheBytes = options.CacheBytes };
        Dictionary<ResponseRow, DecodingTicket> rows = [];
        List<DecodingTicket> leaving = [];
        while (Next(rows, leaving) is var (joining, job))
        {
            job?.Invoke();
            foreach (var ticket in rows.Values)
                ticket.Row.IsEnough |= ticket.IsUnwanted;
            batch.RemoveFinished();
            if (joining.Length > 0)
                Join(batch, rows, joining, leaving);
            try
            {
                batch.Step(row => rows[row].Publish(watch));
            }
            catch (Exception e)
            {
                // The rows cannot be told apart: all of them fail, those that come later may not.
                foreach (var row in batch.Rows)
                    row.Fail(e);
                batch.RemoveFinished();
            }
            foreach (var ticket in rows.Values.Where(t => t.Row.IsFinished).ToArray())
            {
                rows.Remove(ticket.Row);
                leaving.Add(ticket);
                secondsPerRow += (ticket.Writing.TotalSeconds - secondsPerRow) / 8;
            }
            if (rows.Count == 0)
                batch.Release();
            Volatile.Write(ref running, rows.Count);
            Close(leaving);
        }
        foreach (var row in batch.Rows)
            row.IsEnough = true;
        batch.RemoveFinished();
    }

    private void Join(DecodingBatch batch, Dictionary<ResponseRow, DecodingTicket> rows, DecodingTicket[] joining, List<DecodingTicket> leaving)
    {
        foreach (var ticket in joining)
            rows.Add(ticket.Row, ticket);
        try
        {
            batch.Join([.. joining.Select(t => t.Row)], row => rows[row].Publish(watch));
        }
        catch (Exception e)
        {
            // Rows that were there before are as they were.
            foreach (var ticket in joining)
            {
                rows.Remove(ticket.Row);
                ticket.Row.Fail(e);
                leaving.Add(ticket);
            }
            batch.RemoveFinished();
        }
    }

    /// <summary>What to do next: rows that join, and work beside them; null when the thread is to end.</summary>
    private (DecodingTicket[] Joining, Action? Job)? Next(Dictionary<ResponseRow, DecodingTicket> rows, List<DecodingTicket> leaving)
    {
        (DecodingTicket[], Action?)? next = null;
        lock (gate)
        {
            bool isPatient = true;
            while (!isDisposed && isPatient && rows.Count + waiting.Count + jobs.Count == 0)
                isPatient = Monitor.Wait(gate, Patience);
            if (isDisposed)
            {
                leaving.AddRange(waiting);
                leaving.AddRange(rows.Values);
                waiting.Clear();
                running = 0;
                while (jobs.TryDequeue(out var job))
                    job.Abandon();
            }
            else if (rows.Count + waiting.Count + jobs.Count > 0)
                next = (Admit(rows, leaving), jobs.TryDequeue(out var job) ? job.Run : null);
            if (next is null)
                thread = null;
        }
        Close(leaving, next is null && leaving.Count > 0 ? Gone() : null);
        return next;
    }

    /// <summary>Takes the rows from the front of the queue for which there is room.</summary>
    private DecodingTicket[] Admit(Dictionary<ResponseRow, DecodingTicket> rows, List<DecodingTicket> leaving)
    {
        for (var node = waiting.First; node is not null;)
        {
            var (ticket, next) = (node.Value, node.Next);
            if (ticket.IsUnwanted)
            {
                waiting.Remove(node);
                leaving.Add(ticket);
            }
            node = next;
        }
        List<DecodingTicket> joining = [];
        int count = rows.Values.Count(t => !t.IsUnwanted), promptTokens = 0;
        int longest = rows.Keys.Select(r => r.CachedLength).DefaultIfEmpty().Max();
        while (waiting.First is { Value: var ticket } && count < options.MaxRows)
        {
            var row = ticket.Row;
            int all = Math.Max(longest, row.CachedLength);
            // Texts beyond this length are read in a way of their own, and alone.
            bool fits = count == 0 || (long)(count + 1) * all * tokenBytes <= options.CacheBytes && all <= model.UniformLength;
            bool isRead = joining.Count > 0 && ReferenceEquals(joining[^1].Row.Query, row.Query);
            if (!fits || joining.Count > 0 && !isRead && promptTokens + row.QueryLength > options.PromptTokensPerStep)
                break;
            promptTokens += isRead ? 0 : row.QueryLength;
            (longest, count) = (all, count + 1);
            joining.Add(ticket);
            waiting.RemoveFirst();
        }
        Volatile.Write(ref running, count);
        return [.. joining];
    }

    private static ObjectDisposedException Gone() => new(nameof(TextCompleter));

    private static void Close(List<DecodingTicket> leaving, Exception? failure = null)
    {
        foreach (var ticket in leaving)
            ticket.Close(failure);
        leaving.Clear();
    }
}
