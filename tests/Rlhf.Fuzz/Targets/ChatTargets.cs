using System.Text;
using System.Text.Json;
using Parquet.Serialization;
using Rlhf.Data;
using Rlhf.Data.Files;
using Rlhf.Tokenizers.Chat;

namespace Rlhf.Fuzz;

/// <summary>Chat templates, which are programs from strangers, and conversations in tables.</summary>
internal static class ChatTargets
{
    private static readonly JsonElement Given = JsonDocument.Parse("""
        {
          "messages": [
            {"role": "system", "content": "Be brief. <b>&"},
            {"role": "user", "content": [{"type": "text", "text": " Wie 你好 😀? "}, {"type": "image"}]},
            {"role": "assistant", "content": "", "tool_calls": [{"id": "abcdefgh1", "function": {"name": "f", "arguments": {"n": 2.5, "x": [1, null, true]}}}]},
            {"role": "tool", "content": "{\"t\": 21}", "name": "f"},
            {"role": "assistant", "content": "<think>\nhm\n</think>\n\n21"}
          ],
          "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {"n": {"type": "number"}}}}}]
        }
        """).RootElement;

    public static IEnumerable<FuzzTarget> Make(Scratch scratch)
    {
        ChatMessage[] messages = [.. Given.GetProperty("messages").EnumerateArray().Select(ChatMessage.FromJson)];
        var options = new ChatRenderOptions { Tools = Given.GetProperty("tools"), Now = new DateTimeOffset(2026, 3, 7, 8, 9, 30, default) };
        yield return new("chat-template", input =>
        {
            // The same template must give the same text, whatever it does.
            var template = ChatTemplate.FromText(Encoding.UTF8.GetString(input), FuzzTarget.FileName);
            var rendered = template.RenderText(messages, options);
            WrongResultException.Unless(rendered.Generated.All(x => x.Start >= 0 && x.Start <= x.End), "a span that ends before it begins");
            WrongResultException.Unless(rendered.Text == template.Render(messages, options), "another text the second time");
        }, Seeds(), Tokens(), typeof(ChatTemplateException))
        { MaxLength = 2048, MaxAllocated = 8L << 30 };
        yield return new("conversations", input =>
        {
            var file = scratch.Write(FuzzTarget.FileName + ".jsonl", input);
            foreach (var conversation in ConversationDataset.Stream(file, new() { MaxTextLength = 1 << 20 }))
                _ = conversation.Messages.Sum(x => x.Text.Length);
        }, AllTargets.Bytes("""
            {"messages":[{"role":"user","content":"q"},{"role":"assistant","content":[{"type":"text","text":"a"}]}],"tools":[{}]}
            {"prompt":"q","completion":[{"role":"assistant","content":null}],"chat_template_kwargs":{"x":1}}
            {"conversations":[{"from":"human","value":"q"},{"from":"gpt","value":"a"}],"tools":"[]"}
            {"instruction":"i","input":"","output":"o","system":"s"}
            """), AllTargets.Json("\n", "\"role\":", "\"content\":", "\"from\":\"gpt\"", "\"value\":", "\"messages\":", "\"tools\":", "\"text\":"),
            typeof(InvalidDataException), typeof(ArgumentException));
        TableColumn[] columns = [TableColumn.Of("conversation", null, required: true, "Messages", "messages") with { TakesLists = true }];
        yield return new("parquet-lists", input =>
        {
            foreach (var row in TableFile.Read(new MemoryStream(input), FuzzTarget.FileName + ".parquet", columns, 1 << 20))
                WrongResultException.Unless(row.Cells[0] is null or JsonElement or string or long or double or bool, "a cell of an odd type");
        }, [Parquet()], AllTargets.Latin1("PAR1", "\u0015\u0002", "\u0019\u001c", "\u0016\0", "\u001c", "\u0019\u00fc",
            "\u00ff\u00ff\u00ff\u00ff\u0007", "\u0080\u0080\u0080\u0080\u0010"), typeof(InvalidDataException))
        { MaxLength = 8192 };
    }

    private static byte[][] Seeds() => AllTargets.Bytes(
        "{% for m in messages %}{{ '<|' + m['role'] + '|>' }}\n{%- if m.content is string %}{{ m.content|trim }}{% else %}{{ m.content[0].text }}{% endif %}{% endfor %}",
        "{%- macro f(a, b=1) -%}[{{ a|tojson(indent=2) }}{{ b }}{{ varargs }}{{ kwargs }}{{ caller() if caller else '' }}]{%- endmacro -%}{% call f(tools) %}x{% endcall %}",
        "{% set ns = namespace(i=0, t='') %}{% for m in messages[::-1] if m.role != 'tool' %}{% set ns.i = ns.i + loop.index0 %}{% set ns.t = ns.t ~ m.role %}"
            + "{% if loop.last %}{% break %}{% endif %}{% else %}none{% endfor %}{{ ns.t ~ ns.i }}",
        "{% generation %}{{ messages|selectattr('role', 'equalto', 'user')|map(attribute='content')|list|length }}{% endgeneration %}{{ range(10)|batch(3)|list }}",
        "{{ '%5.2f|%-8s|%x' % (2.5, 'ab', 255) }}{{ '{:>8}|{0!r}'.format('q') }}{{ '{:,.2f}'.format(1234567.891) }}{{ 2 ** 70 // 3 % 7 }}{{ 1e16|string }}",
        "{{ 'a b,c'.split() }}{{ 'x'.center(9, '*') }}{{ 'aXbX'|replace('X', '') }}{{ [3, 1]|sort|join('-') }}{{ {'a': (1,)}|dictsort }}{{ 'ß'|upper|title }}",
        "{% filter indent(2) %}a\nb{% endfilter %}{% with a = 1 %}{{ a }}{% endwith %}{% raw %}{{ x }}{% endraw %}{# c #}{{ strftime_now('%d %b %Y') }}",
        "{% for n in [[1, [2]], 3] recursive %}{{ loop.depth }}{{ loop(n) if n is iterable else n }}{% endfor %}{{ raise_exception('no') if false }}",
        "{{ messages[1].content|map(attribute='text')|select('defined')|join|wordwrap(5) }}{{ not (1 < 2 <= 3) and none is none or 'a' in 'abc' }}");

    private static byte[][] Tokens() => AllTargets.Bytes(
        "{{", "}}", "{%", "%}", "{%-", "-%}", "{#", "#}", "{% for a in ", "{% endfor %}", "{% if ", "{% endif %}", "{% set a = ", "{% else %}", "{% macro g(a) %}",
        "{% endmacro %}", "{% set x %}", "{% endset %}", "{% break %}", "{% continue %}", "recursive", "loop", "namespace(", "range(100000)", "* 1000000", "** 999",
        "|tojson", "|list", "|map('", "|sort", "|join(", "|indent(", "|batch(", "|truncate(", "|int", "|float", "|round(", "|default(", "|groupby('role')", "|format(",
        ".format(", ".split(", ".join(", ".replace('', ", "[::-1]", "[-1]", "(", ")", "[", "]", "'", "\"", "~", "**", "//", "is not ", " is defined", " in ", "None",
        "-1", "1e308", "99999999999999999999", "'%*.*f' % ", "'{:{}}'", "messages", "tools", "varargs", "caller()", "g(g(1))", "\\ud800", "\u0130", "\u03a3", "\ufeff", "\0");

    private static byte[] Parquet()
    {
        var stream = new MemoryStream();
        ParquetSerializer.SerializeAsync<Row>(
        [
            new() { Messages = [new() { Role = "user", Content = "q", Tags = ["a", "b"] }, new() { Role = "assistant", Tags = [] }] },
            new() { Messages = [] }, new(), new() { Messages = [new() { Role = "tool", Content = "x", Score = 2.5 }] },
        ], stream).GetAwaiter().GetResult();
        return stream.ToArray();
    }

    /// <summary>A row of the parquet seed.</summary>
    public sealed class Row
    {
        public List<Message>? Messages { get; set; }
    }

    /// <summary>A message of the parquet seed.</summary>
    public sealed class Message
    {
        public string? Role { get; set; }

        public string? Content { get; set; }

        public double? Score { get; set; }

        public List<string>? Tags { get; set; }
    }
}
