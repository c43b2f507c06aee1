#ifndef ALLOCATION_COUNTER_H
#define ALLOCATION_COUNTER_H
// How often this process has called malloc so far; -1 where a sanitizer has its own malloc.
long allocation_count(void);
// How often it has retained or released a Swift object.
long reference_count(void);
#endif
