using System.Globalization;
using System.Text.Json;
using Rlhf.Tokenizers.Chat;
using Rlhf.Tokenizers.Chat.Jinja;

namespace Rlhf.Tests.Tokenizers.Chat;

/// <summary>Cases of the chat folder of the fixtures, and of the shared data where it is there: what transformers gives.</summary>
internal static class ChatFixtures
{
    /// <summary>Files whose cases have a property, such as "source" (Jinja alone) or "template" (a chat template).</summary>
    public static List<(string File, JsonElement Root)> With(string property)
    {
        var folders = new List<string> { Fixtures.Path("chat") };
        try
        {
            folders.Add(Fixtures.Shared("fixtures", "chat"));
        }
        catch (Exception e) when (e.Message.StartsWith("$XunitDynamicSkip$", StringComparison.Ordinal))
        {
            // Only the fixtures, then.
        }
        var files = folders.SelectMany(x => Directory.EnumerateFiles(x, "*.json")).DistinctBy(File.ReadAllText).Order(StringComparer.Ordinal);
        List<(string, JsonElement)> all = [.. files.Select(x => (Path.GetFileName(x), JsonDocument.Parse(File.ReadAllBytes(x)).RootElement))
            .Where(x => x.RootElement.TryGetProperty("cases", out var cases) && cases.EnumerateArray().Any(y => y.TryGetProperty(property, out _)))];
        Assert.NotEmpty(all);
        return all;
    }

    /// <summary>What strftime_now took for the time.</summary>
    public static DateTimeOffset Now(JsonElement root) => root.TryGetProperty("now", out var now)
        ? DateTimeOffset.Parse(now.GetString()!, CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal) : new(2026, 3, 7, 8, 9, 30, default);

    /// <summary>A source rendered with variables alone.</summary>
    public static string Render(string source, JsonElement variables, DateTimeOffset now)
    {
        var run = new JinjaRun(now);
        var scope = new Scope(null);
        JinjaGlobals.AddTo(scope, run);
        foreach (var variable in variables.EnumerateObject())
            scope.Set(variable.Name, PyJson.FromElement(variable.Value));
        run.Render(JinjaParser.Parse(source), new(scope, isRoot: true));
        return run.Root.ToString();
    }

    /// <summary>
    /// What is wrong with a rendering, or null: the text must be that of the case; where the case is an error there must be one, and
    /// where the template raised it with those words.
    /// </summary>
    public static string? Difference(JsonElement expected, Func<string> render)
    {
        string text;
        try
        {
            text = render();
        }
        catch (Exception e) when (e is JinjaException or ChatTemplateException)
        {
            if (!expected.TryGetProperty("error", out var error))
                return $"error: {e.Message}";
            bool raised = expected.GetProperty("kind").GetString() == "TemplateError";
            var words = e is ChatTemplateException refused ? refused.Reason : e.Message;
            return raised && words != error.GetString() ? $"raised: {words}, expected: {error}" : null;
        }
        catch (Exception e)
        {
            return e.ToString(); // every error must be one of a template
        }
        return !expected.TryGetProperty("text", out var wanted) ? $"text: {text}, expected the error: {expected.GetProperty("error")}"
            : text == wanted.GetString() ? null : $"text: {text}\nexpected: {wanted}";
    }

    /// <summary>The messages of a case.</summary>
    public static ChatMessage[] Messages(JsonElement test) => [.. test.GetProperty("messages").EnumerateArray().Select(ChatMessage.FromJson)];

    /// <summary>The further arguments of a case.</summary>
    public static ChatRenderOptions Options(JsonElement test, DateTimeOffset now)
    {
        string[] known = ["template", "messages", "expected", "tools", "documents", "add_generation_prompt", "continue_final_message",
            "chat_template", "chat_template_in_config"];
        return new()
        {
            AddGenerationPrompt = test.TryGetProperty("add_generation_prompt", out var adds) && adds.GetBoolean(),
            ContinueFinalMessage = test.TryGetProperty("continue_final_message", out var continues) && continues.GetBoolean(),
            Tools = test.TryGetProperty("tools", out var tools) ? tools : null,
            Documents = test.TryGetProperty("documents", out var documents) ? documents : null,
            Variables = test.EnumerateObject().Where(x => !known.Contains(x.Name)).ToDictionary(x => x.Name, x => x.Value),
            Now = now,
        };
    }
}
