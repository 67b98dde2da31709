/* chat_format.c - the texts of chat formats, from their public descriptions.
 *
 * Written for Jinja as chat libraries run it: blocks are trimmed (trim_blocks, lstrip_blocks), and
 * messages, add_generation_prompt, bos_token, eos_token and raise_exception() are there. What a
 * model was trained on is exact to the line feed, so tests render each with jinja2.
 */
#include "chat_format.h"

#include <stddef.h>
#include <string.h>

/* Instructions and responses under headings, an optional system text in place of the preamble:
 * github.com/tatsu-lab/stanford_alpaca. */
static const char alpaca[] =
    "{%- if messages and messages[0].role == 'system' -%}\n"
    "    {{- messages[0].content ~ '\\n\\n' -}}\n"
    "{%- else -%}\n"
    "    {{- 'Below is an instruction that describes a task. Write a response that appropriately "
    "completes the request.\\n\\n' -}}\n"
    "{%- endif -%}\n"
    "{%- for message in messages -%}\n"
    "    {%- if message.role == 'user' -%}\n"
    "        {{- '### Instruction:\\n' ~ message.content ~ '\\n\\n' -}}\n"
    "    {%- elif message.role == 'assistant' -%}\n"
    "        {{- '### Response:\\n' ~ message.content ~ eos_token ~ '\\n\\n' -}}\n"
    "    {%- elif not loop.first or message.role != 'system' -%}\n"
    "        {{- raise_exception('a message is from user or assistant, the first may be system') "
    "-}}\n"
    "    {%- endif -%}\n"
    "{%- endfor -%}\n"
    "{%- if add_generation_prompt -%}\n"
    "    {{- '### Response:\\n' -}}\n"
    "{%- endif -%}\n";

/* <|im_start|>ROLE, the text, <|im_end|>, each message with a line feed behind it. */
static const char chatml[] =
    "{%- for message in messages -%}\n"
    "    {{- '<|im_start|>' ~ message.role ~ '\\n' ~ message.content ~ '<|im_end|>\\n' -}}\n"
    "{%- endfor -%}\n"
    "{%- if add_generation_prompt -%}\n"
    "    {{- '<|im_start|>assistant\\n' -}}\n"
    "{%- endif -%}\n";

/* EXAONE 3: [|ROLE|] and the text; a user's turn ends with a line feed, others with [|endofturn|].
 * A conversation begins with a system turn, empty if there is none. */
static const char exaone[] = "{%- for message in messages -%}\n"
                             "    {%- if loop.first and message.role != 'system' -%}\n"
                             "        {{- '[|system|][|endofturn|]\\n' -}}\n"
                             "    {%- endif -%}\n"
                             "    {{- '[|' ~ message.role ~ '|]' ~ message.content -}}\n"
                             "    {{- '\\n' if message.role == 'user' else '[|endofturn|]\\n' -}}\n"
                             "{%- endfor -%}\n"
                             "{%- if add_generation_prompt -%}\n"
                             "    {{- '[|assistant|]' -}}\n"
                             "{%- endif -%}\n";

/* Llama 3: a header with the role, an empty line, the trimmed text, <|eot_id|>. */
static const char llama3[] =
    "{{- bos_token -}}\n"
    "{%- for message in messages -%}\n"
    "    {{- '<|start_header_id|>' ~ message.role ~ '<|end_header_id|>\\n\\n' -}}\n"
    "    {{- message.content | trim ~ '<|eot_id|>' -}}\n"
    "{%- endfor -%}\n"
    "{%- if add_generation_prompt -%}\n"
    "    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' -}}\n"
    "{%- endif -%}\n";

/* Mistral 7B Instruct: [INST] around the user's text, the end of sequence behind each answer. It
 * has no system turn: such a text stands before the first user's. */
static const char mistral[] =
    "{%- set system = messages[0].content ~ '\\n\\n' if messages and messages[0].role == 'system' "
    "else '' -%}\n"
    "{%- set turns = messages[1:] if system else messages -%}\n"
    "{{- bos_token -}}\n"
    "{%- for message in turns -%}\n"
    "    {%- if message.role != ('user' if loop.index0 % 2 == 0 else 'assistant') -%}\n"
    "        {{- raise_exception('messages alternate: user, assistant, user, ...') -}}\n"
    "    {%- endif -%}\n"
    "    {%- if message.role == 'user' -%}\n"
    "        {{- '[INST] ' ~ (system if loop.first else '') ~ message.content ~ ' [/INST]' -}}\n"
    "    {%- else -%}\n"
    "        {{- ' ' ~ message.content ~ eos_token -}}\n"
    "    {%- endif -%}\n"
    "{%- endfor -%}\n";

static const struct {
    const char *name, *text;
} formats[] = {
    {"alpaca", alpaca}, {"chatml", chatml},   {"exaone", exaone},
    {"llama3", llama3}, {"mistral", mistral},
};

const char *wf_chat_format(const char *name)
{
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++)
        if (!strcmp(formats[i].name, name))
            return formats[i].text;
    return NULL;
}

const char *const *wf_chat_format_names(void)
{
    static const char *const names[] = {"auto",   "alpaca",  "chatml", "exaone",
                                        "llama3", "mistral", NULL};
    return names;
}
