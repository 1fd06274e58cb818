namespace Rlhf.Tokenizers.Chat.Jinja;

internal sealed class ForStatement(
    Expression target, Expression items, Expression? condition, bool recursive,
    IReadOnlyList<Statement> body, IReadOnlyList<Statement> otherwise, int line) : Statement(line)
{
    public override IEnumerable<Statement> Inner => body.Concat(otherwise);

    public override Flow Render(JinjaRun run, Scope scope)
    {
        Render(run, scope, run.Evaluate(items, scope), 0);
        return Flow.Next;
    }

    private void Render(JinjaRun run, Scope scope, object? value, int depth)
    {
        var all = PyIteration.Iterate(value, run.Budget);
        if (condition is not null)
            all = all.Where(item =>
            {
                var inner = new Scope(scope);
                SetStatement.Assign(run, inner, target, item);
                return PyCompare.IsTrue(run.Evaluate(condition, inner));
            });
        var loop = new LoopContext(all.GetEnumerator(), condition is null ? PyIteration.TryLength(value) : null, depth, run.Budget,
            recursive ? inner => Recurse(run, scope, inner, depth + 1) : null);
        bool any = false;
        while (loop.Next(out var item))
        {
            run.Budget.Allocate(32);
            var inner = new Scope(scope);
            inner.Set("loop", loop);
            SetStatement.Assign(run, inner, target, item);
            var flow = run.RenderAll(body, inner);
            any |= flow == Flow.Next; // as in Jinja, whose else also follows a loop in which no iteration came to its end
            if (flow == Flow.Break)
                break;
        }
        if (!any)
            run.RenderAll(otherwise, new(scope));
    }

    private object Recurse(JinjaRun run, Scope scope, object? items, int depth)
    {
        run.Budget.Enter();
        var text = run.Captured(run.Capture([new Nested(this, items, depth, Line)], scope));
        run.Budget.Leave();
        return text;
    }

    /// <summary>The same loop over the items of an item.</summary>
    private sealed class Nested(ForStatement loop, object? items, int depth, int line) : Statement(line)
    {
        public override Flow Render(JinjaRun run, Scope scope)
        {
            loop.Render(run, scope, items, depth);
            return Flow.Next;
        }
    }
}

/// <summary>The variable "loop".</summary>
internal sealed class LoopContext(
    IEnumerator<object?> items, long? length, int depth, JinjaBudget budget, Func<object?, object>? recurse)
{
    private readonly Queue<object?> _ahead = new();
    private long? _length = length;
    private object? _previous;
    private object? _current;
    private List<object?>? _changed;

    /// <summary>Iterations so far.</summary>
    public long Index { get; private set; }

    /// <summary>Number of items; those of an iterator are read ahead to know it.</summary>
    public long Length
    {
        get
        {
            if (_length is null)
            {
                while (items.MoveNext())
                {
                    budget.AllocateItems(1);
                    _ahead.Enqueue(items.Current);
                }
                _length = Index + _ahead.Count;
            }
            return _length.Value;
        }
    }

    public bool Next(out object? item)
    {
        item = null;
        if (!PeekNext(out var next))
            return false;
        _ahead.Dequeue();
        Index++;
        (_previous, _current) = (_current, next);
        item = next;
        return true;
    }

    /// <summary>The items that are left, for whoever walks through the loop itself.</summary>
    public IEnumerable<object?> Rest()
    {
        while (Next(out var item))
            yield return new PyTuple([item, this]);
    }

    public object Recurse(PyArguments arguments)
    {
        var inner = arguments.Bind("loop", 1, "iterable")[0];
        return recurse is null ? throw JinjaException.Type("The loop must have the 'recursive' marker to be called recursively.")
            : recurse(inner);
    }

    public object? Attribute(string name, JinjaBudget budget) => name switch
    {
        "index" => Index,
        "index0" => Index - 1,
        "revindex" => Length - Index + 1,
        "revindex0" => Length - Index,
        "first" => Index == 1,
        "last" => !PeekNext(out _),
        "length" => Length,
        "depth" => (long)depth + 1,
        "depth0" => (long)depth,
        "previtem" => Index == 1 ? new PyUndefined("there is no previous item") : _previous ?? PyMethods.None,
        "nextitem" => PeekNext(out var next) ? next ?? PyMethods.None : new PyUndefined("there is no next item"),
        "cycle" => new PyFunction(name, a => a.Positional.Count > 0 ? a.Positional[(int)((Index - 1) % a.Positional.Count)]
            : throw JinjaException.Type("no items for cycling given")),
        "changed" => new PyFunction(name, a =>
        {
            bool changed = _changed is null || !PyCompare.Equal(_changed, a.Positional.ToList(), budget);
            _changed = [.. a.Positional];
            return changed;
        }),
        _ => null,
    };

    private bool PeekNext(out object? item)
    {
        if (_ahead.TryPeek(out item))
            return true;
        if (!items.MoveNext())
            return false;
        item = items.Current;
        _ahead.Enqueue(item);
        return true;
    }
}
